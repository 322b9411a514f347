/**
 * PostgreSQL fails over while a bridge has work in flight, and has lost what the workflow had committed. The
 * bridge has one slot: as long as it waits for that work, it reads nothing.
 */
import { startBridge } from '../../bridge/bridge';
import type { DispatchMode } from '../../bridge/dispatcher';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { watchTopics } from '../../platform/kafka/topic-watch';
import { createLogger } from '../../platform/observability/logger';
import type { Queryable } from '../../platform/postgres/pool';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['worker:collector']);
}, 120_000);

afterAll(() => stack?.stop());

/** A bridge with one slot, within this process. It cannot see what is done until PostgreSQL has failed over. */
function startBridgeBesideFailover(mode: DispatchMode) {
  const { kafka, temporal: client, pool } = stack;
  let failsOver = true;
  const database = {
    query: (...statement: [{ readonly text?: string }]) =>
      failsOver && statement[0].text?.includes('collector.dead_letters') === true
        ? Promise.reject(new Error('failing over'))
        : pool.query(...(statement as unknown as [string])),
  } as unknown as Queryable;
  const stops: (() => Promise<unknown>)[] = [];
  const onStop = (_what: string, stop: () => Promise<unknown>): void => void stops.unshift(stop);
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the topic watch', () => topics.stop());
  const config = { ...stack.config, BRIDGE_MODE: mode, BRIDGE_MAX_IN_FLIGHT: 1 };
  startBridge({ config, logger, onStop }, { kafka, database, client, topics, eagerStart: false });
  return {
    hasFailedOver: () => void (failsOver = false),
    async stop() {
      for (const stop of stops) await stop();
    },
  };
}

async function countHandled(): Promise<number> {
  const { rowCount } = await stack.pool.query('SELECT FROM collector.event_handled');
  return rowCount ?? 0;
}

async function forgetEverything(): Promise<void> {
  await stack.pool.query(`
    DELETE FROM collector.product_metrics;
    DELETE FROM collector.event_handled;
    DELETE FROM collector.event_log`);
}

async function view(product: string, times: number): Promise<void> {
  const events = Array.from({ length: times }, () => viewed(product));
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));
}

test.each(['per-event', 'coalesce'] as const)(
  '%s, a bridge whose database forgets what it has in flight goes on within seconds, and each event counts once',
  async (mode) => {
    const bridge = startBridgeBesideFailover(mode);
    try {
      await view('lamp', 3);
      await until('its work is done', async () => (await countHandled()) > 0);
      await until('no workflow runs', async () => {
        const { count } = await stack.temporal.workflow.count('ExecutionStatus = "Running"');
        return count === 0;
      });
      await forgetEverything();
      await view('lamp', 3);
      bridge.hasFailedOver();
      await until('all are handled', async () => (await countHandled()) === 6, {
        timeoutMs: 20_000,
      });
      const { rows } = await stack.pool.query<{ views: number }>(
        'SELECT sum(view_count)::int AS views FROM collector.product_metrics',
      );
      expect(rows).toEqual([{ views: 6 }]);
      await until('all is committed', async () => {
        const groupId = stack.config.BRIDGE_GROUP_ID;
        return totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics)) === 0;
      });
    } finally {
      await bridge.stop();
      await forgetEverything();
    }
  },
  120_000,
);
