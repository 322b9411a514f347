import { createHash } from 'node:crypto';
import { redrivenFromHeader } from '../../events/redrive';
import {
  createDeadLetterOperations,
  type DeadLetterOperations,
} from '../../operations/dead-letters';
import {
  foreignEvent,
  messageOf,
  produce,
  viewed,
  type ForeignEvent,
} from '../../testkit/foreign-producer';
import { readTopic } from '../../testkit/topic-reader';
import { runOps, runOpsAtTerminal, runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const by = 'an operator';
let stack: Stack;
let operations: DeadLetterOperations;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector']);
  operations = createDeadLetterOperations({ database: stack.pool, temporal: stack.temporal });
});

afterAll(() => stack.stop());

/** Parks events as a version would have that did not know their type yet. @returns their IDs */
async function parkAsUnknown(events: readonly ForeignEvent[], value = JSON.stringify) {
  const values = events.map((event) => Buffer.from(value(event)));
  const { rows } = await stack.pool.query<{ id: number }>(
    `INSERT INTO collector.dead_letters
       (topic, partition, "offset", key, value, value_hash, headers, produced_at, event_id, reason,
         detail, workflow_id)
     SELECT $1, 0, 1000000 + (SELECT count(*) FROM collector.dead_letters) + position, key, value, hash,
       '[{"name": "origin", "text": "elsewhere"}]', now(), event_id, 'UNKNOWN_TYPE', 'by hand', 'none'
     FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::text[])
       WITH ORDINALITY AS letter (key, value, hash, event_id, position)
     RETURNING id`,
    [
      topic,
      events.map(({ subject }) => Buffer.from(subject)),
      values,
      values.map((bytes) => createHash('sha256').update(bytes).digest()),
      events.map(({ id }) => id),
    ],
  );
  return rows.map(({ id }) => id);
}

async function viewCountOf(productId: string): Promise<number> {
  const { rows } = await stack.pool.query<{ view_count: number }>(
    'SELECT view_count FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  return rows[0]?.view_count ?? 0;
}

async function countHandled(events: readonly ForeignEvent[]): Promise<number> {
  const { rowCount } = await stack.pool.query(
    'SELECT FROM collector.event_handled WHERE event_id = ANY($1)',
    [events.map(({ id }) => id)],
  );
  return rowCount ?? 0;
}

/** Everything that is in the topic now has been taken up and finished when this has. */
async function untilSettled(): Promise<void> {
  const lasts = await Promise.all(
    Array.from({ length: 6 }, async (_, partition) => {
      const event = viewed(`settled-${partition}`);
      await produce(stack.kafka, topic, [{ ...messageOf(event), partition, key: event.subject }]);
      return event;
    }),
  );
  await until('the last of each partition is handled', async () => {
    return (await countHandled(lasts)) === lasts.length;
  });
}

/** How often each dead letter is in the topic as a redriven message. */
async function countRedrivenMessages(): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  for (const { headers } of await readTopic(stack.kafka, topic)) {
    const header = headers[redrivenFromHeader];
    if (!Buffer.isBuffer(header)) continue;
    const id = Number(header.toString());
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return counts;
}

test('100 dead letters that were repaired are redriven with one command, twice: each counts once', async () => {
  const events = Array.from({ length: 100 }, () => viewed('repaired', 'user-1'));
  const ids = await parkAsUnknown(events);
  const other = await operations.list({ reason: 'UNKNOWN_TYPE' }, { limit: 1 });
  expect(other.deadLetters[0]?.status).toBe('parked');

  const first = await runOps(
    stack,
    'dead-letters',
    'redrive',
    '--all',
    '--reason',
    'UNKNOWN_TYPE',
    '--json',
  );
  expect(first).toMatchObject({ exitCode: 0 });
  expect(JSON.parse(first.stdout)).toEqual({ redriven: 100, redrivenBefore: 0, failed: [] });
  const second = await runOpsHere(stack, 'dead-letters', 'redrive', ...ids.map(String), '--json');
  expect(second).toMatchObject({ exitCode: 0 });
  expect(JSON.parse(second.stdout)).toEqual({ redriven: 0, redrivenBefore: 100, failed: [] });

  await until('all are handled', async () => (await countHandled(events)) === 100);
  expect(await viewCountOf('repaired')).toBe(100);
  const redriven = await countRedrivenMessages();
  expect(ids.map((id) => redriven.get(id))).toEqual(ids.map(() => 1));
  const letter = await operations.find(ids[0]!);
  expect(letter).toMatchObject({ status: 'redriven', attempt: 1, redrivingSince: null });
  expect(letter?.resolvedBy).not.toBeNull();
});

test('a person at a terminal is asked before all are redriven, and sees how far it is', async () => {
  const event = viewed('asked');
  const [id] = await parkAsUnknown([event]);
  const command = ['dead-letters', 'redrive', '--all', '--reason', 'UNKNOWN_TYPE'];

  const refused = await runOpsAtTerminal(stack, 'n', ...command);
  expect(refused).toMatchObject({ exitCode: 1, stderr: 'Nothing was done.\n' });
  expect(refused.stdout).toContain('Redrive 1 dead letter? [y/N]');
  expect(await operations.find(id!)).toMatchObject({ status: 'parked' });

  const agreed = await runOpsAtTerminal(stack, 'y', ...command);
  expect(agreed.exitCode).toBe(0);
  expect(agreed.stderr).toContain('1 of 1 (100 %)');
  expect(agreed.stdout).toContain('1 dead letter redriven.');
});

test('a program gives one up by its ID alone', async () => {
  const [id] = await parkAsUnknown([viewed('given-up')]);
  const { exitCode, stdout } = await runOpsHere(
    stack,
    'dead-letters',
    'discard',
    `${id}`,
    '--json',
  );

  expect({ exitCode, result: JSON.parse(stdout) }).toEqual({
    exitCode: 0,
    result: { id, status: 'discarded' },
  });
  expect(await operations.find(id!)).toMatchObject({
    status: 'discarded',
    note: 'no reason given',
    resolvedBy: expect.any(String),
  });
});

test('the redriven message is the one that was parked: key, value, headers and one more', async () => {
  const event = viewed('same');
  const [id] = await parkAsUnknown([event], (value) => JSON.stringify(value, undefined, 3));
  const outcome = await operations.redrive(id!, { by });
  expect(outcome).toMatchObject({ kind: 'redriven', sentTo: { topic } });
  await until('it is handled', () => countHandled([event]));
  const history = await stack.temporal.workflow.getHandle(event.id).fetchHistory();
  const payload =
    history.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0];
  expect(JSON.parse(Buffer.from(payload!.data!).toString())).toMatchObject({
    key: 'same',
    value: JSON.stringify(event, undefined, 3),
    headers: [
      { name: 'origin', text: 'elsewhere' },
      { name: redrivenFromHeader, text: String(id) },
    ],
  });
});

test('two operators who redrive the same at the same time send it once', async () => {
  const events = Array.from({ length: 20 }, () => viewed('contested'));
  const ids = await parkAsUnknown(events);
  const reports = await Promise.all(
    ['one', 'another', 'a third'].map((name) => operations.redriveMany(ids, { by: name })),
  );
  for (const { failed } of reports) expect(failed).toEqual([]);
  await until('all are handled', async () => (await countHandled(events)) === 20);
  expect(await viewCountOf('contested')).toBe(20);
  const redriven = await countRedrivenMessages();
  expect(ids.map((id) => redriven.get(id))).toEqual(ids.map(() => 1));
});

test('a redrive that fails again is a new dead letter that counts on and names the earlier one', async () => {
  await produce(stack.kafka, topic, [{ key: 'poison', value: 'not JSON' }]);
  const first = await until('it is parked', () => findPoison(1));
  await operations.redrive(first.id, { by });
  const second = await until('it is parked again', () => findPoison(2));
  expect(second).toMatchObject({ redrivenFrom: first.id, status: 'parked', reason: 'NOT_JSON' });
  expect(second.offset).not.toBe(first.offset);
  await operations.redrive(second.id, { by });
  const third = await until('and once more', () => findPoison(3));
  expect(third).toMatchObject({ redrivenFrom: second.id, status: 'parked' });
  expect(await operations.find(third.id)).toMatchObject({
    value: { text: 'not JSON' },
    headers: [{ name: redrivenFromHeader, text: String(second.id) }],
  });
});

async function findPoison(tries: number) {
  const { deadLetters } = await operations.list({ reason: 'NOT_JSON' });
  return deadLetters.find((letter) => letter.tries === tries);
}

test('a header that names a dead letter of another message links nothing', async () => {
  const [id] = await parkAsUnknown([viewed('unrelated')]);
  await produce(stack.kafka, topic, [
    { key: 'forged', value: 'no event', headers: { [redrivenFromHeader]: String(id) } },
    { key: 'forged', value: 'no event either', headers: { [redrivenFromHeader]: '1; DROP TABLE' } },
  ]);
  const forged = await until('both are parked', async () => {
    const { deadLetters } = await operations.list({ reason: 'NOT_JSON' });
    const own = deadLetters.filter(
      ({ key }) => key !== null && 'text' in key && key.text === 'forged',
    );
    return own.length === 2 ? own : undefined;
  });
  for (const letter of forged) expect(letter).toMatchObject({ redrivenFrom: null, tries: 1 });
});

test('a message that has become too large for its topic stays parked, and says what to do', async () => {
  const large = viewed('large');
  const [id] = await parkAsUnknown([large], (value) => JSON.stringify(value).padEnd(1_100_000));
  expect(await operations.redrive(id!, { by })).toMatchObject({
    kind: 'refused',
    detail: expect.stringContaining('max.message.bytes') as string,
  });
  expect(await operations.find(id!)).toMatchObject({
    status: 'parked',
    attempt: 1,
    redrivingSince: null,
    note: expect.stringContaining('max.message.bytes') as string,
  });
  // It can be retried, and its rejection blocks none of the others.
  const event = viewed('beside-large');
  const [beside] = await parkAsUnknown([event]);
  const report = await operations.redriveMany([id!, beside!], { by });
  expect(report).toMatchObject({
    redriven: 1,
    failed: [{ deadLetterId: id, outcome: { kind: 'refused' } }],
  });
  await until('the other is handled', () => countHandled([event]));
});

describe('a dead letter that is settled', () => {
  test('is discarded once, with who did so and why', async () => {
    const [id] = await parkAsUnknown([viewed('discarded')]);
    const discarded = await operations.discard(id!, { by: 'first', reason: 'a test' });
    expect(discarded).toEqual({ kind: 'discarded' });
    expect(await operations.discard(id!, { by: 'second', reason: 'no test' })).toEqual({
      kind: 'discarded',
    });
    expect(await operations.find(id!)).toMatchObject({
      status: 'discarded',
      resolvedBy: 'first',
      note: 'a test',
      value: expect.anything() as unknown,
    });
  });

  test('is sent again only when that is said, and its event still counts once', async () => {
    const event = viewed('again');
    const [id] = await parkAsUnknown([event]);
    await operations.discard(id!, { by, reason: 'by mistake' });
    const refused = await operations.redrive(id!, { by });
    expect(refused).toEqual({ kind: 'settled', status: 'discarded' });
    await untilSettled();
    expect(await countHandled([event])).toBe(0);
    for (const attempt of [1, 2, 3]) {
      expect(await operations.redrive(id!, { by, again: true })).toMatchObject({
        kind: 'redriven',
      });
      expect(await operations.find(id!)).toMatchObject({
        status: 'redriven',
        attempt,
        note: attempt === 1 ? 'discarded before: by mistake' : null,
      });
    }
    await until('it is handled', () => countHandled([event]));
    await untilSettled();
    expect(await viewCountOf('again')).toBe(1);
    expect(await operations.discard(id!, { by, reason: 'too late' })).toEqual({
      kind: 'settled',
      status: 'redriven',
    });
  });

  test('cannot be discarded while a redrive of it is under way', async () => {
    const [id] = await parkAsUnknown([viewed('busy')]);
    await stack.pool.query(
      'UPDATE collector.dead_letters SET redriving_since = now() WHERE id = $1',
      [id],
    );
    expect(await operations.discard(id!, { by, reason: 'too hasty' })).toEqual({
      kind: 'redriving',
    });
    // A redrive that was ended from outside is continued by the next one.
    expect(await operations.redrive(id!, { by })).toMatchObject({ kind: 'redriven' });
  });

  test('that does not exist is said to be unknown', async () => {
    expect(await operations.redrive(999_999, { by })).toEqual({ kind: 'unknown-dead-letter' });
    expect(await operations.discard(999_999, { by, reason: 'x' })).toEqual({
      kind: 'unknown-dead-letter',
    });
    expect(await operations.find(999_999)).toBeUndefined();
  });
});

test('dead letters are listed page by page, the newest first, each once', async () => {
  await parkAsUnknown(Array.from({ length: 25 }, () => foreignEvent('Nothing', 'paged', {})));
  const all = await operations.select({ topic });
  const seen: number[] = [];
  for (let after: number | undefined; ;) {
    const page = await operations.list({ topic }, { limit: 10, after });
    seen.push(...page.deadLetters.map(({ id }) => id));
    after = page.next;
    if (after === undefined) break;
  }
  expect(seen).toEqual(all.toReversed());
});

test('a command without a worker is reported as pending, and is carried out later', async () => {
  const event = viewed('pending');
  const [id] = await parkAsUnknown([event]);
  const [worker] = stack.running('worker:collector');
  await worker!.end();
  const hasty = createDeadLetterOperations(
    { database: stack.pool, temporal: stack.temporal },
    { commandTimeoutMs: 1_000 },
  );
  await expect(hasty.redrive(id!, { by })).rejects.toMatchObject({
    code: 'DEAD_LETTER_COMMAND_PENDING',
    workflowId: `redrive-${id}-1`,
  });
  await stack.start('worker:collector');
  await until('it is handled', () => countHandled([event]));
});
