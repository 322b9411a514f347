/** Verifications that operators start over HTTP, on real servers: bounded, shared, kept, and with the API's rights. */
import type { z } from 'zod';
import type { statusSchema } from '../../api/status/schemas';
import type { verificationSchema } from '../../api/verification/schemas';
import { checks } from '../../operations/verification-checks';
import { asDevelopmentUser } from '../../platform/postgres/development-users';
import { createDevelopmentUsers } from '../../migrations/development-users';
import { createLogger } from '../../platform/observability/logger';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

type Verification = z.output<typeof verificationSchema>;
type Run = NonNullable<Verification['last']>;
type Status = z.output<typeof statusSchema>;

let stack: Stack;
let api: RunningProcess;
let product: string;

beforeAll(async () => {
  stack = await createStack(['worker:commerce', 'bridge', 'worker:collector']);
  const url = stack.config.DATABASE_URL;
  await createDevelopmentUsers(url, createLogger('test', 'fatal'));
  // A user that cannot become the owner again.
  api = await stack.start('api', { DATABASE_URL: asDevelopmentUser(url, 'api') });
  const body = { name: 'a lamp', price: 900, stock: 10 };
  product = (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}, 120_000);

afterAll(() => stack?.stop());

afterEach(() => stack.pool.query('DELETE FROM collector.verifications'));

async function read(): Promise<Verification> {
  return (await stack.call('GET', '/v1/verification')).body as Verification;
}

async function untilEnded(): Promise<Run> {
  return until('the verification has ended', async () => {
    const { running, last } = await read();
    return running === null && last !== null ? last : undefined;
  });
}

async function verify(): Promise<Run> {
  expect(await stack.call('POST', '/v1/verification')).toMatchObject({ status: 202 });
  return untilEnded();
}

/** Keeps the statements of a verification waiting, as a table does that takes long to read. */
async function whileLikesAreLocked(work: () => Promise<void>): Promise<void> {
  const connection = await stack.pool.connect();
  try {
    await connection.query('BEGIN; LOCK TABLE commerce.product_likes IN ACCESS EXCLUSIVE MODE');
    await work();
  } finally {
    await connection.query('ROLLBACK');
    connection.release();
  }
}

async function likeMore(count: number): Promise<void> {
  await stack.pool.query(
    'UPDATE commerce.products SET like_count = like_count + $2 WHERE product_id = $1',
    [product, count],
  );
}

async function countRuns(): Promise<number> {
  const { rows } = await stack.pool.query<{ runs: number }>(
    'SELECT count(*)::int AS runs FROM collector.verifications',
  );
  return rows[0]!.runs;
}

test('it checks every invariant with the rights of the API, and says each in words with its figures', async () => {
  expect(await read()).toEqual({ running: null, last: null });
  const { headers } = await stack.call('POST', '/v1/verification');
  expect(headers.get('location')).toBe('/v1/verification');
  const last = await untilEnded();
  expect(last).toMatchObject({ outcome: 'holds', by: 'operator', failure: null });
  expect(last.checks.map(({ name, rule }) => ({ name, rule }))).toEqual(
    checks.map(({ name, rule }) => ({ name, rule })),
  );
  expect(last.checks.find(({ name }) => name === 'likes')?.figures).toEqual({
    products: 1,
    likes: 0,
  });
});

test('what differs is told with its first rows, in the verdict and as a metric, until it is mended', async () => {
  await likeMore(1);
  // Longer than what is kept of it.
  await stack.pool.query(
    `INSERT INTO collector.event_handled (event_id, workflow_id)
     SELECT 'from-nowhere-' || n, repeat('long', 1000) FROM generate_series(1, 9) AS n`,
  );
  const last = await verify();
  expect(last.outcome).toBe('differs');
  const violated = last.checks.filter(({ holds }) => !holds);
  expect(violated.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['likes', 'handled-is-logged']),
  );
  const likes = violated.find(({ name }) => name === 'likes');
  expect(likes?.differences).toEqual([{ product_id: product, found: 1, expected: 0 }]);
  const handled = violated.find(({ name }) => name === 'handled-is-logged');
  expect(handled).toMatchObject({ differenceCount: 9 });
  expect(handled?.differences).toHaveLength(5);
  expect(JSON.stringify(handled).length).toBeLessThan(5_000);

  const { problems } = (await stack.call('GET', '/v1/status')).body as Status;
  expect(problems).toContainEqual(
    expect.objectContaining({
      code: 'VERIFICATION_DIFFERS',
      runbook: 'docs/runbook.md#verificationdiffers',
    }),
  );
  const [worker] = stack.running('worker:collector');
  await until('the metric tells it', async () => {
    const metrics = await (await fetch(`${worker!.url}/metrics`)).text();
    return /verification_last_timestamp_seconds\{outcome="differs"\} [1-9]/.test(metrics);
  });

  await likeMore(-1);
  await stack.pool.query(
    `DELETE FROM collector.event_handled WHERE event_id LIKE 'from-nowhere-%'`,
  );
  // The command line's outcome counts as much.
  expect(await runOpsHere(stack, 'verify')).toMatchObject({ exitCode: 0, stderr: '' });
  expect(await read()).toMatchObject({ running: null, last: { outcome: 'holds' } });
  const status = (await stack.call('GET', '/v1/status')).body as Status;
  expect(status.problems.map(({ code }) => code)).not.toContain('VERIFICATION_DIFFERS');
  expect(status.verification).toMatchObject({ outcome: 'holds', violated: [] });
}, 60_000);

test('with a grace that is shorter than usual, the command line keeps nothing', async () => {
  await runOpsHere(stack, 'verify', '--grace', '0');
  expect(await read()).toEqual({ running: null, last: null });
});

test('whoever asks while one is under way shares it, also at another process; too large is told', async () => {
  const other = await stack.start('api');
  await whileLikesAreLocked(async () => {
    const headers = { authorization: 'Bearer dev-operator-key' };
    const answers = await Promise.all(
      [api, other, api, other].map(async ({ url }) => {
        const answer = await fetch(`${url}/v1/verification`, { method: 'POST', headers });
        return ((await answer.json()) as Verification).running?.startedAt;
      }),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toBeDefined();
    expect(await countRuns()).toBe(1);
    expect(await untilEnded()).toMatchObject({
      outcome: 'incomplete',
      failure: expect.stringMatching(
        /too large to be checked here \(likes .*npm run ops -- verify/,
      ),
      checks: [],
    });
  });
  // Neither an all-clear nor an alarm.
  const { verification } = (await stack.call('GET', '/v1/status')).body as Status;
  expect(verification).toBeNull();
  expect((await verify()).outcome).toBe('holds');
  await other.end();
}, 60_000);

test('a process that stops ends its verification and says so', async () => {
  const other = await stack.start('api');
  await whileLikesAreLocked(async () => {
    await stack.call('POST', '/v1/verification');
    expect(await other.end()).toBe(0);
  });
  // The calls go to the process that was started last.
  await stack.start('api');
  expect(await read()).toMatchObject({
    running: null,
    last: { outcome: 'incomplete', failure: expect.stringContaining('was stopped') },
  });
}, 60_000);

test('one whose process was killed is given up, and another can be started', async () => {
  await stack.pool.query(
    `INSERT INTO collector.verifications (requested_by, started_at)
     VALUES ('somebody', now() - interval '5 minutes')`,
  );
  expect(await read()).toEqual({ running: null, last: null });
  expect(await verify()).toMatchObject({ outcome: 'holds', by: 'operator' });
});

test('only the last runs are kept', async () => {
  await stack.pool.query(
    `INSERT INTO collector.verifications (requested_by, finished_at, outcome)
     SELECT 'somebody', now() - interval '1 day', 'holds' FROM generate_series(1, 150)`,
  );
  await verify();
  expect(await countRuns()).toBeLessThanOrEqual(100);
});
