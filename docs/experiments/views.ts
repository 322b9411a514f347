/** Views of one product, sent as a stranger would, and what the collector makes of them. */
import { eventTopics } from '../../events/topics';
import { readConsumerLag } from '../../platform/consumer-lag';
import {
  messageOf,
  produce,
  viewed,
  type ForeignEvent,
} from '../../test/integration/foreign-producer';
import type { Stack } from '../../test/integration/stack';
import { until } from '../../test/integration/until';

/** The product that is looked at. */
export const productId = 'lamp';

/** Sends that many views. */
export async function sendViews(stack: Stack, count: number): Promise<readonly ForeignEvent[]> {
  const events = Array.from({ length: count }, () => viewed(productId));
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));
  return events;
}

/** How many views are counted. */
export async function countedViews({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT view_count AS count FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  return rows[0]?.count ?? 0;
}

/** Resolves when the bridge has passed everything on and no workflow is open. */
export async function atRest(stack: Stack): Promise<void> {
  const { config, later, temporal, kafka } = stack;
  await until(
    'everything is handled',
    async () => {
      const lags = await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, eventTopics);
      if (lags.some(({ lag }) => lag > 0)) return false;
      const { count } = await temporal.workflowService.countWorkflowExecutions({
        namespace: later['TEMPORAL_NAMESPACE'] ?? config.TEMPORAL_NAMESPACE,
        query: `ExecutionStatus = 'Running' AND WorkflowType = 'handleEvent'`,
      });
      return Number(count) === 0;
    },
    { timeoutMs: 120_000 },
  );
}

/** Ends the bridges, and lets those that start next begin with the first message there is. */
export async function rewind(stack: Stack): Promise<void> {
  await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    for (const topic of eventTopics) {
      const groupId = stack.config.BRIDGE_GROUP_ID;
      await until('the group takes the reset', () =>
        admin.resetOffsets({ groupId, topic, earliest: true }).then(() => true),
      );
    }
  } finally {
    await admin.disconnect();
  }
}
