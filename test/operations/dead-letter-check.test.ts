import type { Queryable } from '../../platform/postgres/pool';
import { checkMessages, summarize } from '../../operations/dead-letter-check';
import { viewed } from '../../testkit/foreign-producer';

const event = viewed('tea');
const accepted = { key: Buffer.from('tea'), value: Buffer.from(JSON.stringify(event)) };
const broken = { key: Buffer.from('tea'), value: Buffer.from('not JSON') };

/** A table of these messages, whose statements are counted. */
function tableOf(messages: readonly object[]) {
  const rows = messages.map((message, index) => ({
    ...{ id: index + 1, topic: 'catalog-events', last_offset: null },
    ...message,
  }));
  const statements: string[] = [];
  const query = async ({ text, values: [ids] }: { text: string; values: [number[]] }) => {
    statements.push(text);
    return { rows: rows.filter(({ id }) => ids.includes(id)) };
  };
  return { statements, database: { query } as unknown as Queryable };
}

test('a message is accepted or parked again as the bridge would, by its topic and key, too', async () => {
  const { database } = tableOf([
    accepted,
    broken,
    { ...accepted, key: Buffer.from('coffee') },
    { ...accepted, topic: 'order-events' },
    { key: null, value: null },
  ]);
  const checked = await checkMessages(database, [1, 2, 3, 4, 5, 6]);
  expect(checked.map((each) => (each.parses ? each.eventId : each.reason))).toEqual([
    event.id,
    'NOT_JSON',
    'KEY_MISMATCH',
    'WRONG_TOPIC',
    'NULL_VALUE',
  ]);
});

test('what was never a message is unreadable, whatever its bytes are', async () => {
  const { database } = tableOf([{ ...accepted, last_offset: 9 }]);
  expect(await checkMessages(database, [1])).toEqual([
    expect.objectContaining({ id: 1, parses: false, reason: 'UNREADABLE' }),
  ]);
});

test('many are read a few at a time, and nothing but read', async () => {
  const { database, statements } = tableOf(Array.from({ length: 45 }, () => accepted));
  const ids = Array.from({ length: 45 }, (_, index) => index + 1);
  expect(await checkMessages(database, ids)).toHaveLength(45);
  expect(statements).toHaveLength(3);
  for (const statement of statements) expect(statement.trim()).toMatch(/^SELECT/);
});

test('many are counted by what is wrong with them, each with its first example', async () => {
  const { database } = tableOf([{ key: null, value: null }, broken, accepted, broken]);
  expect(summarize(9, await checkMessages(database, [1, 2, 3, 4]))).toEqual({
    matched: 9,
    checked: 4,
    parses: 1,
    refusals: [
      { reason: 'NOT_JSON', count: 2, exampleId: 2, detail: 'The value is not JSON.' },
      { reason: 'NULL_VALUE', count: 1, exampleId: 1, detail: 'The message has no value.' },
    ],
  });
});
