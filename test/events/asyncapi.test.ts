import { Parser } from '@asyncapi/parser';
import { asyncApiDocument } from '../../events/asyncapi';
import { parseMessage } from '../../events/parse';
import { eventDefinitions } from '../../events/schemas';

const { channels, components } = asyncApiDocument();

interface Example {
  readonly payload: { readonly subject: string };
}

test('the document is valid AsyncAPI, its examples included', async () => {
  const { document, diagnostics } = await new Parser().parse(asyncApiDocument());
  // That 3.1 exists is no fault.
  const faults = diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version');
  expect(faults).toEqual([]);
  expect(document?.allMessages().length).toBe(Object.keys(eventDefinitions).length + 1);
});

test('every type of event is on its topic and nowhere else', () => {
  const addresses = Object.values(channels) as { address: string; messages: object }[];
  const placed = addresses.flatMap(({ address, messages }) =>
    Object.keys(messages).map((message) => [message, address]),
  );
  const expected = Object.entries(eventDefinitions).map(([type, { topic }]) => [type, topic]);
  expect(placed.filter(([message]) => message !== 'DeadLetter').sort()).toEqual(expected.sort());
  expect(addresses.map(({ address }) => address).sort()).toEqual([
    'catalog-events',
    'catalog-events.dlq',
    'order-events',
    'order-events.dlq',
  ]);
});

test.each(Object.entries(eventDefinitions))(
  'the bridge takes the example of %s',
  (type, { topic }) => {
    const messages = components.messages as unknown as Record<string, { examples: Example[] }>;
    const { payload } = messages[type]!.examples[0]!;
    const value = Buffer.from(JSON.stringify(payload));
    expect(parseMessage({ topic, key: Buffer.from(payload.subject), value })).toEqual(payload);
  },
);
