/** Messages as large as Kafka takes them, filled with what grows on its way to Temporal. */
import { randomBytes } from 'node:crypto';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const room = 1_000_000;
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector']);
});

afterAll(() => stack?.stop());

async function handled(eventId: string): Promise<boolean> {
  const { rowCount } = await stack.pool.query(
    'SELECT 1 FROM collector.event_handled WHERE event_id = $1',
    [eventId],
  );
  return rowCount === 1;
}

test('are parked whole or handled, and those behind them are handled', async () => {
  const key = 'product-1';
  const value = randomBytes(room);
  const filled = Buffer.alloc(room, 0x01);
  const withGarbage = viewed(key);
  const behind = viewed(key);
  // Each on its own: together they are more than a request may carry.
  await produce(stack.kafka, topic, [{ key, value }]);
  await produce(stack.kafka, topic, [{ key, value: 'poison', headers: { filled } }]);
  await produce(stack.kafka, topic, [{ ...messageOf(withGarbage), headers: { filled } }]);
  await produce(stack.kafka, topic, [messageOf(behind)]);

  await until('the one behind them is handled', () => handled(behind.id));
  await until('the one with garbage in its headers is handled', () => handled(withGarbage.id));
  const parked = await until('the two others are parked', async () => {
    const { rows } = await stack.pool.query<{
      value: Buffer;
      headers: { name: string; text: string }[];
    }>('SELECT value, headers FROM collector.dead_letters ORDER BY "offset"');
    return rows.length === 2 ? rows : undefined;
  });
  expect(parked[0]?.value.equals(value)).toBe(true);
  expect(parked[1]?.value.toString()).toBe('poison');
  expect(parked[1]?.headers).toEqual([{ name: 'filled', text: filled.toString() }]);
});
