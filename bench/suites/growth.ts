/** `growth`: whether rate and memory depend on the size of the log and of the backlog. */
import type { Pool } from 'pg';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { readMemory } from '../../testkit/memory';
import { createStack, type Stack } from '../../testkit/stack';
import { createBacklog } from '../backlog';
import { databaseTime, startAtEnd, untilHandled } from '../consuming';
import { emptyCollector, median, type Figures, type Suite, type SuiteContext } from '../suite';

const rowCounts = [10_000, 100_000, 1_000_000, 5_000_000];
const measuredCount = 50_000;

/** Fewer where they would change what is measured: how many rows there are. */
const measuredShare = 0.5;
const memoryBacklogs = [10_000, 1_000_000];

export const growth: Suite = {
  name: 'growth',
  about: 'catching up with a growing event log; memory with a growing backlog',
  async run(context) {
    const stack = await createStack(['worker:collector']);
    try {
      const rates = await measureRates(stack, context);
      const memory = await measureMemory(stack, context);
      const [first, last] = [rates.at(0)!, rates.at(-1)!];
      const figures: Figures = Object.fromEntries([
        ...rates.map(
          ({ rows, until, values }) => [`events/s with ${rows} to ${until} rows`, values] as const,
        ),
        ['last rate / first rate', [median(last.values) / median(first.values)]],
        ...memory,
      ]);
      return {
        sides: [
          {
            name: 'coalesce',
            what: 'bridge with BRIDGE_MODE=coalesce, Temporal, one worker',
            figures,
          },
        ],
        ratios: [],
        targets: [
          { side: 'coalesce', figure: 'last rate / first rate', goal: { atLeast: 0.8 } },
          ...memory.map(([figure]) => ({ side: 'coalesce', figure, goal: { below: 400 } })),
        ],
        remarks: [],
      };
    } finally {
      await stack.stop();
    }
  },
};

interface Rates {
  /** Rows before the first round. */
  readonly rows: number;
  /** Rows after the last round, which have all been measured in between. */
  readonly until: number;
  readonly values: readonly number[];
}

async function measureRates(
  stack: Stack,
  { rounds, scale, note, signal }: SuiteContext,
): Promise<Rates[]> {
  const rates: Rates[] = [];
  await emptyCollector(stack);
  const bridge = await stack.start('bridge', {
    ...(await startAtEnd(stack)),
    BRIDGE_MODE: 'coalesce',
  });
  try {
    await catchUp(stack, Math.round(5_000 * scale));
    for (const rows of rowCounts.map((each) => Math.round(each * scale))) {
      await fill(stack, rows);
      const values: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        signal.throwIfAborted();
        values.push(
          await catchUp(stack, Math.round(Math.min(measuredCount * scale, rows * measuredShare))),
        );
        note(`${rows} rows, round ${round + 1}: ${Math.round(values.at(-1)!)} events/s`);
      }
      rates.push({ rows, until: await countHandled(stack), values });
    }
  } finally {
    await bridge.end();
  }
  return rates;
}

async function catchUp(stack: Stack, count: number): Promise<number> {
  const handledBefore = await countHandled(stack);
  const backlog = createBacklog(count);
  await backlog.send(stack.kafka);
  const since = await databaseTime(stack);
  return backlog.count / (await untilHandled(stack, handledBefore + backlog.count, since));
}

async function countHandled({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ count: string }>(
    'SELECT count(*) FROM collector.event_handled',
  );
  return Number(rows[0]!.count);
}

/** Fills both tables to so many rows, with events as the pipeline writes them. */
async function fill({ config }: Stack, rows: number): Promise<void> {
  // Millions of rows take longer than the other pools' statement timeout.
  const pool = createPool(config.DATABASE_URL, createLogger('bench', 'fatal'), {
    applicationName: 'bench-fill',
    statementTimeoutMs: 0,
  });
  try {
    await fillOver(pool, rows);
  } finally {
    await pool.end();
  }
}

async function fillOver(pool: Pool, rows: number): Promise<void> {
  const { rows: present } = await pool.query<{ count: string }>(
    'SELECT count(*) FROM collector.event_log',
  );
  const missing = rows - Number(present[0]!.count);
  if (missing <= 0) return;
  await pool.query(
    `WITH logged AS (
      INSERT INTO collector.event_log
        (event_id, type, topic, partition, "offset", aggregate_id, occurred_at, payload)
      SELECT id, 'ProductViewed', 'catalog-events', 0, 0, 'product-1', now() - interval '1 day',
        jsonb_build_object('id', id, 'type', 'ProductViewed', 'subject', 'product-1',
          'source', '/somebody-else', 'specversion', '1.0', 'datacontenttype', 'application/json',
          'dataschema', '/schemas/ProductViewed/1', 'time', '2026-01-01T00:00:00.000Z',
          'data', jsonb_build_object('productId', 'product-1', 'userId', 'user-1'))
      FROM (SELECT gen_random_uuid()::text AS id FROM generate_series(1, $1)) AS made
      RETURNING event_id)
    INSERT INTO collector.event_handled (event_id, workflow_id)
    SELECT event_id, event_id FROM logged`,
    [missing],
  );
  await pool.query('VACUUM ANALYZE collector.event_log, collector.event_handled');
}

/** Memory of the processes after a backlog that existed when they started. */
async function measureMemory(
  stack: Stack,
  { scale, note }: SuiteContext,
): Promise<[figure: string, values: number[]][]> {
  const figures: [string, number[]][] = [];
  for (const size of memoryBacklogs.map((each) => Math.round(each * scale))) {
    await emptyCollector(stack);
    const group = await startAtEnd(stack);
    let sent = 0;
    while (sent < size) {
      const part = createBacklog(Math.min(size - sent, measuredCount));
      await part.send(stack.kafka);
      sent += part.count;
    }
    await Promise.all(stack.running('worker:collector').map((worker) => worker.end()));
    await stack.start('worker:collector');
    const bridge = await stack.start('bridge', { ...group, BRIDGE_MODE: 'coalesce' });
    try {
      await untilHandled(stack, sent, await databaseTime(stack));
      const memory = await readMemory(stack);
      for (const name of ['bridge', 'worker:collector'] as const) {
        figures.push([`MiB of ${name} after ${size} events`, [memory[name]?.mebibytes ?? NaN]]);
      }
      note(`after ${sent} events: ${JSON.stringify(memory)} MiB`);
    } finally {
      await bridge.end();
    }
  }
  return figures;
}
