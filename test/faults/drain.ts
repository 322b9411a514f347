/** Waiting until a pipeline has nothing left to do. */
import { eventTopics } from '../../events/topics';
import { readConsumerLag } from '../../platform/consumer-lag';
import type { Stack } from '../integration/stack';
import { until } from '../integration/until';

/** How long a pipeline may take to catch up after a fault, in ms. */
const recoveryBoundMs = 90_000;

/**
 * Resolves when everything is published, consumed and handled.
 *
 * @returns how long that took, in ms
 * @throws when it takes longer than the bound, saying what is left
 */
export async function drain(stack: Stack): Promise<number> {
  const from = Date.now();
  await until('nothing is left to do', () => isDone(stack), {
    timeoutMs: recoveryBoundMs,
    pollMs: 200,
  });
  return Date.now() - from;
}

async function isDone(stack: Stack): Promise<boolean> {
  const { rows } = await stack.pool.query<{ left: number }>(`
    SELECT (SELECT count(*) FROM commerce.outbox WHERE published_at IS NULL)
      + (SELECT count(*) FROM commerce.orders WHERE status = 'PLACED')
      + (SELECT count(*) FROM collector.event_log WHERE NOT EXISTS (
          SELECT FROM collector.event_handled AS handled
          WHERE handled.event_id = event_log.event_id)) AS left`);
  const lags = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics);
  const behind = lags.reduce((sum, { lag }) => sum + lag, 0);
  const left = Number(rows[0]?.left) + behind;
  if (left > 0) throw new Error(`${left} left, ${behind} of them in Kafka`);
  return (await openWorkflows(stack)) === 0;
}

/** Evictions may still be under way when an event is handled already. */
async function openWorkflows({ temporal, later, config }: Stack): Promise<number> {
  const { count } = await temporal.workflowService.countWorkflowExecutions({
    namespace: later['TEMPORAL_NAMESPACE'] ?? config.TEMPORAL_NAMESPACE,
    query: `ExecutionStatus = 'Running' AND WorkflowType = 'handleEvent'`,
  });
  return Number(count);
}
