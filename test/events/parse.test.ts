import fc from 'fast-check';
import { toMessage } from '../../events/envelope';
import { InvalidEventError, type InvalidEventCode } from '../../events/errors';
import { parseEvent, parseMessage, type RawMessage } from '../../events/parse';
import type { EventType } from '../../events/schemas';
import { maxEventBytes } from '../../events/topics';
import { events, eventsOf, eventTypes } from '../../testkit/event-arbitraries';
import { exampleData, exampleEvent, exampleMessage } from '../../testkit/example-events';

function refusalOf(message: RawMessage): InvalidEventError {
  try {
    parseMessage(message);
  } catch (error) {
    if (error instanceof InvalidEventError) return error;
    throw error;
  }
  throw new Error('The message was accepted.');
}

function refusalOfText(text: string): InvalidEventError {
  const message = exampleMessage('ProductViewed', null);
  return refusalOf({ ...message, value: Buffer.from(text) });
}

describe('a valid event', () => {
  test.each(eventTypes)('%s comes out as it went in', (type) => {
    fc.assert(
      fc.property(eventsOf(type), (event) => {
        const { topic, key, value } = toMessage(event);
        const parsed = parseMessage({ topic, key: Buffer.from(key), value: Buffer.from(value) });
        // What JSON cannot tell apart, such as -0 and 0, is the same event.
        expect(parsed).toEqual(JSON.parse(JSON.stringify(event)));
      }),
    );
  });

  test.each(eventTypes)('%s of a stranger is accepted', (type) => {
    const json = exampleEvent(type);
    expect(parseMessage(exampleMessage(type, json))).toEqual(json);
  });

  test('keeps the fields that nobody here knows', () => {
    const json = exampleEvent(
      'OrderPlaced',
      { traceparent: '00-1-2-01', extension: { deep: [1, null] } },
      { channel: 'web', items: [{ ...item(), colour: 'red' }] },
    );
    expect(parseMessage(exampleMessage('OrderPlaced', json))).toEqual(json);
  });

  test('needs neither optional fields nor a declared content type', () => {
    for (const json of [
      exampleEvent('ProductViewed', { datacontenttype: undefined }, { userId: undefined }),
      exampleEvent('StockAdjusted', {}, { orderId: undefined }),
    ]) {
      expect(() => parseEvent(Buffer.from(JSON.stringify(json)))).not.toThrow();
    }
  });

  test.each([
    ['without a change', 'StockAdjusted', { delta: 0 }],
    ['in version 1 without a registration', 'StockAdjusted', { version: 1 }],
    ['of a gift', 'OrderConfirmed', { totalAmount: 0, items: [zeroPriced()] }],
    ['with the largest exact number', 'ProductRegistered', { price: Number.MAX_SAFE_INTEGER }],
    ['with an empty reason', 'OrderCancelled', { reason: '' }],
  ] as const)('%s is accepted', (_, type, data) => {
    const json = exampleEvent(type, {}, data);
    expect(parseMessage(exampleMessage(type, json))).toEqual(json);
  });

  test.each([
    '2026-01-01T00:00:00Z',
    '2026-01-01T00:00:00.123456789Z',
    '2026-01-01T00:00:00+14:00',
    '2026-01-01T00:00:00-23:59',
    '0001-01-01T00:00:00.000Z',
    '9999-12-31T23:59:59.999Z',
    '2024-02-29T00:00:00Z',
  ])('may have happened at %s', (time) => {
    const json = exampleEvent('ProductViewed', { time });
    expect(parseMessage(exampleMessage('ProductViewed', json)).time).toBe(time);
  });

  test('may have exactly the largest size', () => {
    expect(parseMessage(paddedTo(maxEventBytes)).type).toBe('ProductViewed');
  });

  test('may carry a proto field without harm', () => {
    const text = JSON.stringify(exampleEvent('ProductViewed')).replace(
      '"data":{',
      '"data":{"__proto__":{"productId":"other"},',
    );
    const message = exampleMessage('ProductViewed', null);
    const event = parseMessage({ ...message, value: Buffer.from(text) });
    expect(event.data).toMatchObject({ productId: 'product-1' });
    expect(({} as Record<string, unknown>)['productId']).toBeUndefined();
  });
});

describe('data that breaks the schema is refused by the name of its field', () => {
  const required: [EventType, string][] = eventTypes.flatMap((type) =>
    Object.keys(exampleData[type])
      .filter((field) => !(type === 'StockAdjusted' && field === 'orderId'))
      .filter((field) => !(type === 'ProductViewed' && field === 'userId'))
      .map((field): [EventType, string] => [type, field]),
  );

  test.each(required)('%s without %s', (type, field) => {
    const refusal = refusalOf(exampleMessage(type, exampleEvent(type, {}, { [field]: undefined })));
    expect(refusal).toMatchObject({ code: 'INVALID_DATA', field: `data.${field}` });
    expect(refusal.message).toContain(`data.${field}`);
  });

  test.each<[EventType, string, Record<string, unknown>]>([
    ['ProductRegistered', 'data.price', { price: -1 }],
    ['ProductRegistered', 'data.price', { price: 1.5 }],
    ['ProductRegistered', 'data.name', { name: '' }],
    ['ProductRegistered', 'data.version', { version: 0 }],
    ['StockAdjusted', 'data.stock', { stock: -1 }],
    ['StockAdjusted', 'data.stock', { stock: '3' }],
    ['StockAdjusted', 'data.previousStock', { previousStock: null }],
    ['StockAdjusted', 'data.reason', { reason: 'theft' }],
    ['StockAdjusted', 'data.orderId', { orderId: 'no spaces' }],
    ['StockAdjusted', 'data.version', { version: 0 }],
    ['LikeChanged', 'data.liked', { liked: 'yes' }],
    ['LikeChanged', 'data.likeCount', { likeCount: -1 }],
    ['LikeChanged', 'data.userId', { userId: 'u'.repeat(65) }],
    ['ProductViewed', 'data.userId', { userId: '' }],
    ['OrderPlaced', 'data.items', { items: [] }],
    ['OrderPlaced', 'data.items.0.quantity', { items: [{ ...item(), quantity: 0 }] }],
    ['OrderPlaced', 'data.items.1.unitPrice', { items: [item(), { ...item(), unitPrice: -1 }] }],
    ['OrderConfirmed', 'data.items.0.quantity', { items: [{ ...item(), quantity: -5 }] }],
    ['OrderConfirmed', 'data.items.0.productId', { items: [{ ...item(), productId: 'é' }] }],
    ['PaymentCompleted', 'data.paymentId', { paymentId: '' }],
    ['PaymentFailed', 'data.amount', { amount: -1 }],
    ['OrderCancelled', 'data.wasConfirmed', { wasConfirmed: 1 }],
  ])('%s with a wrong %s: %j', (type, field, data) => {
    const refusal = refusalOf(exampleMessage(type, exampleEvent(type, {}, data)));
    expect(refusal).toMatchObject({ code: 'INVALID_DATA', field });
  });
});

describe('an envelope that breaks CloudEvents is refused by the name of its field', () => {
  test.each<[string, unknown]>([
    ['specversion', '0.3'],
    ['specversion', undefined],
    ['id', undefined],
    ['id', ''],
    ['id', 'with space'],
    ['id', 'é'],
    ['id', 'x'.repeat(129)],
    ['source', ''],
    ['type', undefined],
    ['subject', undefined],
    ['subject', 'product/1'],
    ['time', undefined],
    ['time', 'yesterday'],
    ['time', '2026-01-01'],
    ['time', '2026-02-30T00:00:00Z'],
    ['time', '2026-01-01T00:00:00'],
    ['time', '2026-01-01 00:00:00Z'],
    ['time', '2026-06-30T12:59:60Z'],
    ['time', '0000-12-31T00:00:00Z'],
    ['time', '0001-01-01T00:00:00+01:00'],
    ['time', '9999-12-31T23:30:00-01:00'],
    ['datacontenttype', 'text/plain'],
    ['dataschema', undefined],
    ['data', undefined],
    ['data', 'text'],
    ['data', null],
    ['data', []],
  ])('%s: %j', (field, value) => {
    const json = exampleEvent('ProductViewed', { [field]: value });
    const refusal = refusalOf(exampleMessage('ProductViewed', json));
    expect(refusal).toMatchObject({ code: 'INVALID_ENVELOPE', field });
    expect(refusal.message).toContain(field);
  });

  test.each(['null', '[]', '"text"', '7', 'true'])('%s is no envelope at all', (text) => {
    expect(refusalOfText(text)).toMatchObject({ code: 'INVALID_ENVELOPE' });
  });

  test('a subject other than the aggregate of the data', () => {
    const json = exampleEvent('ProductViewed', {}, { productId: 'product-2' });
    expect(refusalOf(exampleMessage('ProductViewed', json))).toMatchObject({
      code: 'INVALID_DATA',
      field: 'subject',
    });
  });
});

describe('what nobody here can know is refused', () => {
  test.each(['ProductDeleted', 'toString', '__proto__', 'productviewed'])('type %s', (type) => {
    const json = exampleEvent('ProductViewed', { type });
    expect(refusalOf(exampleMessage('ProductViewed', json))).toMatchObject({
      code: 'UNKNOWN_TYPE',
      field: 'type',
    });
  });

  test.each([
    '/schemas/ProductViewed/2',
    '/schemas/ProductViewed/',
    '/schemas/ProductViewed/01',
    '/schemas/ProductViewed/toString',
    '/schemas/StockAdjusted/1',
    'https://example.org/ProductViewed',
  ])('schema version %s', (dataschema) => {
    const json = exampleEvent('ProductViewed', { dataschema });
    expect(refusalOf(exampleMessage('ProductViewed', json))).toMatchObject({
      code: 'UNKNOWN_SCHEMA_VERSION',
      field: 'dataschema',
    });
  });
});

describe('an ID that begins like the ID of another kind of workflow is refused', () => {
  test.each([
    ...['order-', 'product-', 'stock-adjustment-', 'like-', 'publish-', 'batch-', 'dead-letter-'],
    ...['redrive-', 'notification-', 'delivery-audit', 'temporal-sys-'],
  ])('%s', (prefix) => {
    const json = exampleEvent('ProductViewed', { id: `${prefix}1` });
    expect(refusalOf(exampleMessage('ProductViewed', json))).toMatchObject({
      code: 'RESERVED_ID',
      field: 'id',
    });
  });
});

describe('a message in the wrong place is refused', () => {
  const good = exampleMessage('ProductViewed', exampleEvent('ProductViewed'));

  test.each<[InvalidEventCode, Partial<RawMessage>]>([
    ['WRONG_TOPIC', { topic: 'order-events' }],
    ['WRONG_TOPIC', { topic: 'catalog-events.dlq' }],
    ['MISSING_KEY', { key: null }],
    ['KEY_MISMATCH', { key: Buffer.from('product-2') }],
    ['KEY_MISMATCH', { key: Buffer.from('product-1\0') }],
    ['KEY_MISMATCH', { key: Buffer.alloc(0) }],
    ['NULL_VALUE', { value: null }],
  ])('%s: %j', (code, change) => {
    expect(refusalOf({ ...good, ...change })).toMatchObject({ code });
  });
});

describe('bytes that cannot be kept exactly are refused', () => {
  test('more of them than an event may have', () => {
    expect(refusalOf(paddedTo(maxEventBytes + 1))).toMatchObject({ code: 'TOO_LARGE' });
  });

  test.each<[InvalidEventCode, string, Buffer]>([
    ['NOT_UTF8', 'bytes that are no text', Buffer.from([0xff, 0xfe])],
    ['NOT_UTF8', 'half a surrogate pair as bytes', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['NOT_JSON', 'no bytes', Buffer.alloc(0)],
    ['NOT_JSON', 'text', Buffer.from('not json')],
    ['NOT_JSON', 'a byte order mark', Buffer.from('\ufeff{}')],
    ['NOT_JSON', 'two values', Buffer.from('{}{}')],
    ['NOT_JSON', 'an open end', Buffer.from('['.repeat(100_000))],
  ])('%s: %s', (code, _, value) => {
    expect(refusalOf({ topic: 'catalog-events', key: null, value })).toMatchObject({ code });
  });

  test.each([
    ['a NUL', 'data.note', { note: 'a\0b' }],
    ['a NUL in a name', 'data', { 'a\0b': 1 }],
    ['half of a surrogate pair', 'data.note', { note: 'a\ud800b' }],
    ['the other half', 'data.note', { note: '\udc00' }],
    ['half of a surrogate pair in a name', 'data', { '\ud83d': 1 }],
    ['an integer past 2^53', 'data.note', { note: 2 ** 53 }],
    ['a negative integer past 2^53', 'data.note', { note: -(2 ** 53) }],
    ['an integer far past 2^53', 'data.note', { note: 1e300 }],
  ])('%s in a field that nobody knows', (_, field, data) => {
    const json = exampleEvent('ProductViewed', {}, data);
    expect(refusalOf(exampleMessage('ProductViewed', json))).toMatchObject({
      code: 'UNSTORABLE_JSON',
      field,
    });
  });

  test('a number too large for a double', () => {
    expect(refusalOfText('{"a":[1e400]}')).toMatchObject({
      code: 'UNSTORABLE_JSON',
      field: 'a.0',
    });
  });

  test('nesting deeper than 64 levels, however deep', () => {
    expect(() => parseMessage(nested(62))).not.toThrow();
    expect(refusalOf(nested(65))).toMatchObject({ code: 'UNSTORABLE_JSON' });
    const bottomless = '['.repeat(120_000) + ']'.repeat(120_000);
    expect(refusalOfText(bottomless)).toMatchObject({ code: 'UNSTORABLE_JSON' });
  });
});

describe('whatever comes, nothing but InvalidEventError is thrown', () => {
  const noisyEvents = fc
    .tuple(events, fc.string(), fc.string(), fc.json(), fc.boolean())
    .map(([event, name, other, json, inData]) => {
      const value: unknown = JSON.parse(json);
      const names = Object.keys(inData ? event.data : event);
      const field = names[name.length % names.length]!;
      const mutated = inData
        ? { ...event, data: { ...event.data, [field]: value, [other]: value } }
        : { ...event, [field]: value, [other]: value };
      return { event, value: Buffer.from(JSON.stringify(mutated)) };
    });

  function acceptsOrRefuses(message: RawMessage): void {
    try {
      parseMessage(message);
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidEventError);
    }
  }

  test('of arbitrary bytes', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.option(fc.uint8Array()),
        fc.option(fc.uint8Array({ maxLength: 500 })),
        (topic, key, value) => {
          acceptsOrRefuses({ topic, key, value });
        },
      ),
    );
  });

  test('of arbitrary JSON', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        acceptsOrRefuses({ topic: 'catalog-events', key: null, value: Buffer.from(json) });
      }),
    );
  });

  test('of events with some of their fields changed', () => {
    fc.assert(
      fc.property(noisyEvents, ({ event, value }) => {
        const { topic, key } = toMessage(event);
        acceptsOrRefuses({ topic, key: Buffer.from(key), value });
      }),
      { numRuns: 300 },
    );
  });

  test('of events with some of their bytes changed', () => {
    fc.assert(
      fc.property(events, fc.nat(), fc.integer({ min: 0, max: 255 }), (event, at, byte) => {
        const { topic, key, value } = toMessage(event);
        const bytes = Buffer.from(value);
        bytes[at % bytes.length] = byte;
        acceptsOrRefuses({ topic, key: Buffer.from(key), value: bytes });
      }),
      { numRuns: 300 },
    );
  });
});

function item() {
  return { productId: 'product-1', quantity: 1, unitPrice: 1 };
}

function zeroPriced() {
  return { ...item(), unitPrice: 0 };
}

function paddedTo(bytes: number): RawMessage {
  const json = exampleEvent('ProductViewed', { padding: '' });
  const padding = 'x'.repeat(bytes - Buffer.byteLength(JSON.stringify(json)));
  return exampleMessage('ProductViewed', { ...json, padding });
}

function nested(levels: number): RawMessage {
  let deep: unknown = 0;
  for (let level = 0; level < levels; level += 1) deep = [deep];
  return exampleMessage('ProductViewed', exampleEvent('ProductViewed', { deep }));
}
