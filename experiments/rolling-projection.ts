/**
 * A projection that is declared when the log is long: the example of docs/extending.md is followed in a
 * copy of the project, deployed in a rolling way while events keep coming, and built. EXPERIMENT_EVENTS
 * says how many events there are before; five million by default.
 */
import { rebuildMetrics } from '../operations/metrics-rebuild';
import { createLogger } from '../platform/observability/logger';
import { pause } from '../platform/process/waiting';
import { createPool } from '../platform/postgres/pool';
import { readPage } from '../test/docs/markdown';
import { copyProject, type ProjectCopy } from '../test/docs/project-copy';
import { stepsOf } from '../test/docs/walkthrough';
import {
  createForeignEvents,
  sendWithForeignClient,
  toForeignMessage,
} from '../testkit/foreign-messages';
import { createRandom } from '../testkit/random';
import { createStack, type Stack } from '../testkit/stack';
import { until } from '../testkit/until';
import type { Experiment, Findings } from './experiment';
import { atRest } from './views';

const eventsBefore = Number(process.env['EXPERIMENT_EVENTS'] ?? 5_000_000);
const tables = 'user_activity product_metrics product_metrics_daily';

export const rollingProjection: Experiment = {
  name: 'rolling-projection',
  question: `What does a new projection take with ${eventsBefore.toLocaleString('en')} events in the log, and more coming?`,
  page: 'docs/decisions/0021-declarations.md',
  columns: ['step', 'seconds', 'result'],
  async run() {
    const copy = await copyProject();
    const stack = await createStack([]);
    try {
      return await deploy(stack, copy);
    } finally {
      await stack.stop();
      await copy.remove();
    }
  },
};

async function deploy(stack: Stack, copy: ProjectCopy): Promise<Findings> {
  const rows: (string | number)[][] = [];
  const step = async (name: string, work: () => Promise<string>): Promise<void> => {
    const startedAt = performance.now();
    const result = await work();
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    process.stderr.write(`${name}: ${seconds} s, ${result}\n`);
    rows.push([name, seconds, result]);
  };
  const inCopy = (command: string): Promise<string> => copy.run(command, stack.environment);

  await step('fill the log, and build what was declared before', () => fill(stack));
  const oldWorker = await stack.start('worker:collector');
  await stack.start('bridge', { BRIDGE_MODE: 'coalesce' });
  const load = startLoad(stack);
  try {
    await step('follow docs/extending.md', () => followPage(copy));
    await step('migrate, with the old worker running', async () => {
      await inCopy('npm run migrate');
      return `not built: ${await unbuilt(stack)}`;
    });
    await step('try to build it, with the old worker running', () =>
      inCopy(`npm run ops -- rebuild-metrics --yes --only ${tables}`).then(
        () => 'NOT REFUSED',
        (error: Error) => /\d+ connections of older[^,]*/.exec(error.message)?.[0] ?? error.message,
      ),
    );
    await step('start the new worker, stop the old one', async () => {
      await stack.start('worker:collector', {}, copy.folder);
      await oldWorker.end();
      return `handled meanwhile: ${await countHandled(stack)}`;
    });
    await step('build it', async () => {
      const output = await inCopy(`npm run -s ops -- rebuild-metrics --json --only ${tables}`);
      const { events, lockedMs } = JSON.parse(output) as { events: number; lockedMs: number };
      return `${events} events, writers blocked for ${lockedMs} ms; not built: ${await unbuilt(stack)}`;
    });
    await step('start an old worker again', () => meetFence(stack));
  } finally {
    await load.stop();
  }
  await step('let the rest be handled', async () => {
    await atRest(stack);
    return `${load.sent()} events came meanwhile; handled: ${await countHandled(stack)}`;
  });
  await step('verify', async () => {
    const output = await inCopy('npm run -s ops -- verify --grace 0');
    return `${output.match(/^holds/gm)?.length} rules hold, ${output.match(/^DIFFERS/gm)?.length ?? 0} differ`;
  });
  return {
    rows,
    remarks: ['The load is some 200 events a second of every type, by a client that is not ours.'],
  };
}

/** The event and the projection; not the command, and no checks. */
async function followPage(copy: ProjectCopy): Promise<string> {
  const steps = stepsOf(readPage('docs/extending.md'));
  const generated = steps.findIndex(
    (step) => step.kind === 'run' && step.command === 'npm run generate',
  );
  for (const step of steps.slice(0, generated + 1)) await copy.follow(step);
  const migrations = await copy.run('ls migrations/*.sql');
  return `wrote ${migrations.trim().split('\n').at(-1)}`;
}

/** As many handled events as there should be: views, by many users, of many products. */
async function fill(stack: Stack): Promise<string> {
  const pool = createPool(stack.config.DATABASE_URL, createLogger('experiment', 'fatal'), {
    applicationName: 'experiment-fill',
    statementTimeoutMs: 0,
  });
  try {
    await pool.query(
      `WITH made AS (
        SELECT gen_random_uuid()::text AS id, 'product-' || n % 20000 AS product,
          'user-' || n % 50000 AS member, now() - n % 864000 * interval '1 second' AS at
        FROM generate_series(1, $1) AS n
      ), logged AS (
        INSERT INTO collector.event_log
          (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
        SELECT id, 'ProductViewed', 'catalog-events', 0, 0, product, at,
          jsonb_build_object('id', id, 'type', 'ProductViewed', 'subject', product,
            'source', '/somebody-else', 'specversion', '1.0', 'time', at,
            'dataschema', '/schemas/ProductViewed/1',
            'data', jsonb_build_object('productId', product, 'userId', member))
        FROM made RETURNING event_id)
      INSERT INTO collector.event_handled (event_id, workflow_id)
      SELECT event_id, event_id FROM logged`,
      [eventsBefore],
    );
    await pool.query('VACUUM ANALYZE collector.event_log, collector.event_handled');
    const { events, lockedMs } = await rebuildMetrics(pool);
    return `${events} events, writers blocked for ${lockedMs} ms`;
  } finally {
    await pool.end();
  }
}

/** Events of every type, 200 a second, until it is stopped. */
function startLoad(stack: Stack) {
  const stopping = new AbortController();
  const random = createRandom(1);
  let sent = 0;
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const events = createForeignEvents(100, random);
      await sendWithForeignClient(stack, events.map(toForeignMessage));
      sent += events.length;
      await pause(500, stopping.signal);
    }
  })();
  return {
    sent: () => sent,
    async stop(): Promise<void> {
      stopping.abort();
      await running;
    },
  };
}

/** An old worker starts again: it would leave the new table incomplete. */
async function meetFence(stack: Stack): Promise<string> {
  const old = await stack.launch('worker:collector');
  await until('the old worker has ended', () => /newer version/.test(old.output()));
  const exitCode = await old.end();
  return `it ends with ${exitCode}: its version is older than what was built`;
}

async function unbuilt({ pool }: Stack): Promise<string> {
  const { rows } = await pool.query<{ table: string }>(
    'SELECT table_name AS table FROM collector.projections WHERE built_at IS NULL ORDER BY 1',
  );
  return rows.map(({ table }) => table).join(', ') || 'none';
}

async function countHandled({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT count(*) AS count FROM collector.event_handled',
  );
  return rows[0]!.count;
}
