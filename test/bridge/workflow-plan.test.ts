import { planBatch, planParking, planWorkflow } from '../../bridge/workflow-plan';
import {
  decodeBytes,
  decodeHeader,
  type ReceivedEvent,
  type RefusedMessage,
} from '../../events/received';
import { maxEventBytes } from '../../events/topics';
import { exampleEvent } from '../../testkit/example-events';
import { received, type RecordChange } from '../../testkit/records';

const event = exampleEvent('ProductViewed');
const eventBytes = Buffer.from(JSON.stringify(event));

const message: RecordChange = {
  key: 'product-1',
  value: eventBytes,
  timestamp: 1767225600000,
  offset: 42,
};

function planOf(change: RecordChange, topic = 'catalog-events') {
  return planWorkflow(received({ ...message, ...change }, { topic, partition: 3 }));
}

/** How a message travels that is to be parked and fits. */
function refusedOf(change: RecordChange): [RefusedMessage, Uint8Array | null] {
  const { type, input } = planOf(change);
  if (type !== 'parkDeadLetter' || input.length !== 2) throw new Error('It must travel whole.');
  return input;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

describe('a message that carries an event', () => {
  test('is handled by a workflow whose ID is exactly the event ID', () => {
    const value = Buffer.from(`  ${JSON.stringify(event)}\n`);
    expect(planOf({ value, headers: [['traceparent', '00-1-2-01']] })).toEqual({
      type: 'handleEvent',
      workflowId: event['id'],
      doneBy: event['id'],
      bytes: expect.any(Number) as number,
      event,
      input: [
        {
          topic: 'catalog-events',
          partition: 3,
          offset: 42,
          eventId: event['id'],
          key: 'product-1',
          value: value.toString(),
          headers: [{ name: 'traceparent', text: '00-1-2-01' }],
          producedAt: 1767225600000,
        },
      ],
    });
  });

  test('is handled whatever its headers say', () => {
    const headers: RecordChange['headers'] = [
      ['ce_id', 'another'],
      ['ce_type', 'Nonsense'],
      ['content-type', Buffer.from([0xff])],
    ];
    expect(planOf({ headers })).toMatchObject({ type: 'handleEvent', workflowId: event['id'] });
  });
});

describe('a message that is no event is parked, with the reason', () => {
  test.each<[string, RecordChange, string?]>([
    ['NOT_JSON', { value: Buffer.from('{"id":') }],
    ['NOT_JSON', { value: Buffer.from('hello') }],
    ['NOT_UTF8', { value: Buffer.from([0xff, 0x00]) }],
    ['NULL_VALUE', { value: null }],
    ['UNKNOWN_TYPE', { value: json({ ...event, type: 'ProductDeleted' }) }],
    [
      'UNKNOWN_SCHEMA_VERSION',
      { value: json({ ...event, dataschema: '/schemas/ProductViewed/2' }) },
    ],
    ['INVALID_DATA', { value: json(exampleEvent('OrderPlaced', {}, negativeQuantity())) }],
    ['INVALID_ENVELOPE', { value: json({ ...event, subject: '' }) }],
    ['TOO_LARGE', { value: json({ ...event, padding: 'x'.repeat(maxEventBytes) }) }],
    ['TOO_LARGE', { value: Buffer.alloc(1024 * 1024 - 100, 0xff) }],
    ['MISSING_KEY', { key: null }],
    ['KEY_MISMATCH', { key: Buffer.from('product-2') }],
    ['WRONG_TOPIC', {}, 'order-events'],
    ['RESERVED_ID', { value: json({ ...event, id: 'order-1' }) }],
    ['UNSTORABLE_JSON', { value: json({ ...event, extra: 2 ** 53 }) }],
    ['UNSTORABLE_JSON', { value: json({ ...event, extra: 'a\0b' }) }],
  ])('%s', (reason, change, topic = 'catalog-events') => {
    const { value = eventBytes } = change;
    const plan = planOf(change, topic);
    expect(plan).toMatchObject({
      type: 'parkDeadLetter',
      workflowId: `dead-letter-${topic}-3-42`,
      doneBy: `dead-letter-${topic}-3-42`,
      input: [
        { topic, partition: 3, offset: 42, reason, detail: expect.stringMatching(/\w/) },
        value,
      ],
    });
  });

  test('with its key and headers byte for byte', () => {
    const garbage = Buffer.from([0x00, 0x80, 0xff]);
    const headers: [Buffer | string, Buffer | string | null][] = [
      ['odd\0name', garbage],
      ['', ''],
      ['twice', 'one'],
      [garbage, 'between'],
      ['twice', garbage],
      ['nothing', null],
      ['__proto__', ''],
    ];
    const [refused, value] = refusedOf({ key: garbage, value: garbage, headers });
    expect(value).toEqual(garbage);
    expect(decodeBytes(refused.key!)).toEqual(garbage);
    expect(refused.headers.map(decodeHeader)).toEqual(received({ headers }).entry.headers);
    expect(refused.headers[0]?.name).toBe('odd␀name');
  });

  test.each<[string, RecordChange['headers'] & object, string | undefined]>([
    ['claims one', [['ce_id', 'event-1']], 'event-1'],
    [
      'claims several',
      [
        ['ce_id', 'event-1'],
        ['ce_id', 'event-2'],
      ],
      'event-2',
    ],
    ['claims none', [], undefined],
    ['claims one that is none', [['ce_id', 'a b']], undefined],
    ['claims bytes', [['ce_id', Buffer.from([0xff])]], undefined],
  ])('with its event ID where it %s', (_, headers, eventId) => {
    expect(refusedOf({ value: null, headers })[0].eventId).toBe(eventId);
  });

  test.each([
    [1767225600000, 1767225600000],
    [-1, 0],
    [2 ** 63, 0],
    [253402300800000, 0],
  ])('produced at %s', (timestamp, producedAt) => {
    expect(refusedOf({ value: null, timestamp })[0].producedAt).toBe(producedAt);
  });
});

function receivedEvent(id: string, offset: number) {
  const value = json(exampleEvent('ProductViewed', { id }));
  const planned = planOf({ value, offset });
  if (planned.type !== 'handleEvent') throw new Error('It must be handled.');
  return planned.input[0];
}

test('a batch tells which offsets it has of each partition, and what it is done by', () => {
  const events = [42, 43, 44].map((offset) => receivedEvent(`event-${offset}`, offset));
  const elsewhere = { ...events[0]!, partition: 5 };
  expect(planBatch([...events, elsewhere], 'event-43')).toEqual({
    type: 'handleEventBatch',
    workflowId: expect.stringMatching(/^batch-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f-]{21}$/) as string,
    doneBy: 'event-43',
    offsets: { 'catalog-events/3': [42, 44], 'catalog-events/5': [42, 42] },
    input: [[...events, elsewhere]],
  });
});

test('a batch is named by its messages: the same again is the same, any other is another', () => {
  const nameOf = (...events: ReceivedEvent[]) => planBatch(events, 'event-1').workflowId;
  const one = receivedEvent('event-1', 1);
  expect(nameOf(one)).toBe(nameOf({ ...one, headers: [] }));
  const names = [
    nameOf(one),
    nameOf({ ...one, eventId: 'event-2' }),
    nameOf({ ...one, offset: 2 }),
    nameOf({ ...one, partition: 4 }),
    nameOf({ ...one, topic: 'order-events' }),
    nameOf(one, receivedEvent('event-2', 2)),
  ];
  expect(new Set(names).size).toBe(names.length);
});

test('an event whose workflow Temporal rejects is parked by its coordinates', () => {
  const why = { reason: 'START_REFUSED', detail: 'too large' };
  const plan = planParking(received(message), why);
  expect(plan).toMatchObject({
    workflowId: 'dead-letter-catalog-events-0-42',
    input: [why, eventBytes],
  });
});

function negativeQuantity() {
  return { items: [{ productId: 'product-1', quantity: -1, unitPrice: 1 }] };
}

test('a message that makes planning throw is parked by its place, with the stack', () => {
  const entry = {
    ...received({ offset: 7 }).entry,
    get value(): never {
      throw new TypeError('nobody has thought of this');
    },
  };
  expect(planWorkflow({ topic: 'catalog-events', partition: 3, entry })).toMatchObject({
    type: 'parkDeadLetter',
    input: [
      {
        offset: 7,
        lastOffset: 7,
        reason: 'PLANNING_FAILED',
        detail: expect.stringMatching(/nobody has thought of this\n +at /) as string,
      },
    ],
  });
});
