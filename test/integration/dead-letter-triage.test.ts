import { createHash } from 'node:crypto';
import { createDeadLetterOperations } from '../../operations/dead-letters';
import { foreignEvent, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topics = ['catalog-events', 'order-events'] as const;
const reasons = ['UNKNOWN_TYPE', 'INVALID_DATA', 'UNKNOWN_SCHEMA_VERSION'] as const;
const producers = ['/till', '/warehouse'] as const;
const perGroup = 25;

/** The group of events that a version has learnt since. */
const repaired = { reason: 'UNKNOWN_TYPE', topic: 'catalog-events', producer: '/till' };

let stack: Stack;
let repairedEvents: ForeignEvent[];

interface Parked {
  readonly topic: string;
  readonly reason: string;
  readonly events: readonly ForeignEvent[];
  readonly headers?: string;
}

/** Parks events as a version would have that refused them. @returns their IDs */
async function park({ topic, reason, events, headers = '[]' }: Parked): Promise<number[]> {
  const values = events.map((event) => Buffer.from(JSON.stringify(event)));
  const { rows } = await stack.pool.query<{ id: number }>(
    `INSERT INTO collector.dead_letters
       (topic, partition, "offset", key, value, value_hash, headers, produced_at, reason, detail, workflow_id)
     SELECT $1, 0, 1000000 + (SELECT count(*) FROM collector.dead_letters) + position, key, value, hash,
       $6, now(), $2, 'by hand', 'none'
     FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) WITH ORDINALITY AS letter (key, value, hash, position)
     RETURNING id`,
    [
      topic,
      reason,
      events.map(({ subject }) => Buffer.from(subject)),
      values,
      values.map((value) => createHash('sha256').update(value).digest()),
      headers,
    ],
  );
  return rows.map(({ id }) => id);
}

beforeAll(async () => {
  stack = await createStack(['api', 'bridge', 'worker:collector']);
  for (const topic of topics) {
    for (const reason of reasons) {
      for (const source of producers) {
        const isRepaired =
          topic === repaired.topic && reason === repaired.reason && source === repaired.producer;
        const events = Array.from({ length: perGroup }, (_, index) =>
          isRepaired
            ? { ...viewed('repaired'), source }
            : foreignEvent('Nothing', `thing-${index}`, {}, { source }),
        );
        if (isRepaired) repairedEvents = events;
        await park({ topic, reason, events });
      }
    }
  }
});

afterAll(() => stack.stop());

const query = (filter: Readonly<Record<string, string>>) => String(new URLSearchParams(filter));

async function countParked(filter: Readonly<Record<string, string>>): Promise<number> {
  const { body } = await stack.call(
    'GET',
    `/v1/dead-letters/groups?${query({ ...filter, status: 'parked' })}`,
  );
  return body.count as number;
}

async function listOf(filter: Readonly<Record<string, string>>) {
  const { body } = await stack.call(
    'GET',
    `/v1/dead-letters?${query({ limit: '100', ...filter })}`,
  );
  return body.items as {
    id: number;
    outcome: string | null;
    parkedAgainAs: number | null;
    redrivenFrom: number | null;
  }[];
}

test('300 dead letters are 12 groups, each with its count and when it was seen', async () => {
  const { body } = await stack.call('GET', '/v1/dead-letters/groups?status=parked');
  expect(body).toMatchObject({ count: 12 * perGroup, groupCount: 12 });
  expect(body.items).toHaveLength(12);
  expect(body.items).toContainEqual({
    ...repaired,
    count: perGroup,
    firstSeenAt: expect.any(String) as string,
    lastSeenAt: expect.any(String) as string,
  });
  const printed = await runOpsHere(stack, 'dead-letters', 'groups', '--topic', 'order-events');
  expect(printed.exitCode).toBe(0);
  expect(printed.stdout).toContain('150 dead letters in 6 groups.');
});

test('a filter takes those of a producer, also of none, and of a time', async () => {
  await park({ topic: topics[0], reason: 'NOT_JSON', events: [{ ...viewed('x'), source: '' }] });
  expect(await countParked({ producer: '/warehouse' })).toBe(6 * perGroup);
  expect(await countParked({ producer: '' })).toBe(1);
  expect(await countParked({ since: '2999-01-01T00:00:00Z' })).toBe(0);
  expect(await countParked({ until: '2999-01-01T00:00:00+09:00' })).toBe(12 * perGroup + 1);
});

test('a header names the producer of what is no event, and no value keeps one from being parked', async () => {
  const deep = Buffer.from('['.repeat(200_000));
  await produce(stack.kafka, topics[0], [
    { key: 'deep', value: deep, headers: { ce_source: '/deep' } },
  ]);
  await until('it is parked', async () => (await countParked({ producer: '/deep' })) === 1);
});

test('a dry run says what would parse now, and writes nothing', async () => {
  const url = `/v1/dead-letters/check?${query({ ...repaired, status: 'parked' })}`;
  const { body } = await stack.call('GET', url);
  expect(body).toEqual({ matched: perGroup, checked: perGroup, parses: perGroup, refusals: [] });
  const [letter] = await listOf(repaired);
  const one = await stack.call('GET', `/v1/dead-letters/${letter?.id}/check`);
  expect(one.body).toMatchObject({ id: letter?.id, parses: true, type: 'ProductViewed' });
  const dry = ['dead-letters', 'redrive', '--reason', 'INVALID_DATA', '--dry-run', '--json'];
  const { exitCode, stdout } = await runOpsHere(stack, ...dry);
  expect(exitCode).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    matched: 4 * perGroup,
    parses: 0,
    refusals: [{ reason: 'UNKNOWN_TYPE', count: 4 * perGroup }],
  });
  expect(await countParked(repaired)).toBe(perGroup);
});

test('a count that is no longer right is refused with the right one, and nothing is changed', async () => {
  const command = { filter: repaired, expected: perGroup - 1 };
  for (const [route, body] of [
    ['redrive', command],
    ['discard', { ...command, reason: 'a test' }],
  ] as const) {
    const refused = await stack.call('POST', `/v1/dead-letters/${route}`, { body });
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({
      code: 'COUNT_DIFFERS',
      detail: '25 parked dead letters match, not 24; nothing was changed.',
    });
  }
  const printed = await runOpsHere(
    stack,
    ...['dead-letters', 'redrive', '--reason', 'UNKNOWN_TYPE', '--expect', '7'],
  );
  expect(printed).toMatchObject({
    exitCode: 1,
    stderr: '100 parked dead letters match, not 7. Nothing was done.\n',
  });
  expect(await countParked(repaired)).toBe(perGroup);
});

test('a group is redriven as a whole, by two at once: each event counts once, and all are handled', async () => {
  const call = (idempotencyKey: string) =>
    stack.call('POST', '/v1/dead-letters/redrive', {
      body: { filter: repaired, expected: perGroup },
      idempotencyKey,
    });
  const answers = await Promise.all([call('one'), call('another')]);
  // The second may come when some are redriven already; it is refused then.
  const done = answers.filter(({ status }) => status === 200);
  expect(done.length).toBeGreaterThan(0);
  for (const { body } of done) {
    expect(body).toMatchObject({ matched: perGroup, left: 0, failed: [] });
    expect(body.redriven + body.redrivenBefore).toBe(perGroup);
  }
  await until('what became of each is known', async () => {
    const letters = await listOf({ ...repaired, status: 'redriven' });
    return letters.length === perGroup && letters.every(({ outcome }) => outcome === 'handled');
  });
  const { rows } = await stack.pool.query<{ views: number; attempts: number }>(
    `SELECT (SELECT view_count FROM collector.product_metrics WHERE product_id = 'repaired') AS views,
       (SELECT max(attempt) FROM collector.dead_letters) AS attempts`,
  );
  expect(rows).toEqual([{ views: repairedEvents.length, attempts: 1 }]);
});

test('what fails again is parked again, with links both ways, and never counts as handled', async () => {
  const filter = { reason: 'INVALID_DATA', topic: 'order-events', producer: '/warehouse' };
  const printed = await runOpsHere(
    stack,
    ...['dead-letters', 'redrive', '--reason', filter.reason, '--topic', filter.topic],
    ...['--producer', filter.producer, '--expect', String(perGroup), '--json'],
  );
  expect(printed.exitCode).toBe(0);
  expect(JSON.parse(printed.stdout)).toMatchObject({ redriven: perGroup, failed: [] });
  const letters = await until('all are parked again', async () => {
    const redriven = await listOf({ ...filter, status: 'redriven' });
    return redriven.every(({ outcome }) => outcome === 'parked-again') ? redriven : undefined;
  });
  expect(letters).toHaveLength(perGroup);
  const again = await listOf({ reason: 'UNKNOWN_TYPE', topic: filter.topic, status: 'parked' });
  for (const { id, parkedAgainAs } of letters) {
    expect(again.find((each) => each.id === parkedAgainAs)?.redrivenFrom).toBe(id);
  }
});

test('a group is discarded with a reason, and stays on record', async () => {
  const filter = { reason: 'UNKNOWN_SCHEMA_VERSION', topic: 'catalog-events', producer: '/till' };
  const answer = await stack.call('POST', '/v1/dead-letters/discard', {
    body: { filter, expected: perGroup, reason: 'test messages' },
  });
  expect(answer).toMatchObject({
    status: 200,
    body: { matched: perGroup, discarded: perGroup, left: 0, failed: [] },
  });
  const operations = createDeadLetterOperations({
    database: stack.pool,
    temporal: stack.temporal,
  });
  const { deadLetters } = await operations.list({ ...filter, status: 'discarded' });
  expect(deadLetters.map(({ note }) => note)).toEqual(
    Array.from({ length: perGroup }, () => 'test messages'),
  );
  const printed = await runOpsHere(
    stack,
    ...['dead-letters', 'discard', '--parked-for', 'UNKNOWN_SCHEMA_VERSION', '--topic'],
    ...['catalog-events', '--expect', String(perGroup), '--reason', 'test messages', '--json'],
  );
  expect(JSON.parse(printed.stdout)).toEqual({ discarded: perGroup, failed: [] });
});

test('one command takes a limited number, the sendable ones first, and says what is left', async () => {
  const events = Array.from({ length: 210 }, () => ({ ...viewed('many'), source: '/many' }));
  const ids = await park({ topic: 'catalog-events', reason: 'UNKNOWN_TYPE', events });
  await stack.pool.query(
    'UPDATE collector.dead_letters SET last_offset = "offset" WHERE id = ANY($1)',
    [ids.slice(0, 5)],
  );
  const filter = { producer: '/many' };
  const redrive = (expected: number) =>
    stack.call('POST', '/v1/dead-letters/redrive', { body: { filter, expected } });
  let parked = 210;
  // On a busy machine it takes fewer than it may, since it also ends in time.
  while (parked > 5) {
    const { body } = await redrive(parked);
    expect(body).toMatchObject({
      matched: parked,
      left: parked - body.redriven - body.failed.length,
    });
    expect(body.redriven).toBeLessThanOrEqual(200);
    if (body.left >= 5) expect(body.failed).toEqual([]);
    parked -= body.redriven;
  }
  const { body } = await redrive(5);
  expect(body).toMatchObject({ redriven: 0, left: 0 });
  const failed = body.failed as { id: number; code: string }[];
  expect(failed.map(({ id }) => id).sort()).toEqual(ids.slice(0, 5));
  expect(new Set(failed.map(({ code }) => code))).toEqual(new Set(['UNREADABLE']));
});
