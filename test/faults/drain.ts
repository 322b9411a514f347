/** Waiting until a pipeline has nothing left to do, and judging how long it took. */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventTopics } from '../../events/topics';
import { readConsumerLag } from '../../platform/consumer-lag';
import { messageOf, produce, viewed } from '../integration/foreign-producer';
import type { Stack } from '../integration/stack';

/** How a pipeline came to rest. */
export interface Recovery {
  /** From the end of the load until nothing was left to do, in ms. */
  readonly tookMs: number;
  /** The most that was seen to be left: events to publish, to consume or to handle, orders to decide. */
  readonly backlog: number;
  /** How long it may take: 30 s and the backlog at the measured rate, in ms. */
  readonly boundMs: number;
}

const pollMs = 200;
const graceMs = 30_000;

/** A pipeline that gets nothing done for so long will not recover. */
const stalledAfterMs = 60_000;

/**
 * Resolves when everything is published, consumed and handled.
 *
 * @param rate events per second that the pipeline can handle, as {@link measureRate} tells
 * @throws when nothing gets done for a minute, saying what is left
 */
export async function drain(stack: Stack, rate: number): Promise<Recovery> {
  const from = Date.now();
  let backlog = 0;
  let least = Infinity;
  let progressAt = from;
  for (; ; await sleep(pollMs)) {
    // While a server is away nothing can be counted: why is told if it stays so.
    const left = await countLeft(stack).catch((error: unknown) => String(error));
    if (left === 0) break;
    if (typeof left === 'number') {
      backlog = Math.max(backlog, left);
      if (left < least) progressAt = Date.now();
      least = Math.min(least, left);
    }
    if (Date.now() - progressAt > stalledAfterMs) {
      throw new Error(`Nothing was done for ${stalledAfterMs / 1_000} s; left: ${left}`);
    }
  }
  return { tookMs: Date.now() - from, backlog, boundMs: graceMs + (backlog / rate) * 1_000 };
}

const samples = 400;

/** How many events the pipeline handles in a second, with nothing else to do. */
export async function measureRate(stack: Stack): Promise<number> {
  const messages = Array.from({ length: samples }, () => messageOf(viewed('measured')));
  await produce(stack.kafka, 'catalog-events', messages);
  const from = Date.now();
  // The rate that this is for is not known yet; any will do for waiting.
  await drain(stack, 1);
  return (samples * 1_000) / (Date.now() - from);
}

async function countLeft(stack: Stack): Promise<number> {
  const { rows } = await stack.pool.query<{ left: number }>(`
    SELECT (SELECT count(*) FROM commerce.outbox WHERE published_at IS NULL)
      + (SELECT count(*) FROM commerce.orders WHERE status = 'PLACED')
      + (SELECT count(*) FROM collector.event_log WHERE NOT EXISTS (
          SELECT FROM collector.event_handled AS handled
          WHERE handled.event_id = event_log.event_id)) AS left`);
  const lags = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics);
  const behind = lags.reduce((sum, { lag }) => sum + lag, 0);
  return Number(rows[0]?.left) + behind + (await openWorkflows(stack));
}

/** Evictions may still be under way when an event is handled already. */
async function openWorkflows({ temporal, later, config }: Stack): Promise<number> {
  const { count } = await temporal.workflowService.countWorkflowExecutions({
    namespace: later['TEMPORAL_NAMESPACE'] ?? config.TEMPORAL_NAMESPACE,
    query: `ExecutionStatus = 'Running' AND WorkflowType = 'handleEvent'`,
  });
  return Number(count);
}
