/** The schedule of the delivery audit: one, however many workers start. */
import {
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
  type ScheduleOptionsStartWorkflowAction,
} from '@temporalio/client';
import type { Config } from '../platform/process/config';
import { pause } from '../platform/process/waiting';
import type { Logger } from '../platform/observability/logger';
import type { auditDelivery, DeliveryAuditOptions } from '../workflows/audit-delivery';
import { deliveryAuditScheduleId } from '../events/workflow-ids';
import { taskQueues, workflowTypes } from '../events/workflow-names';

export interface ScheduleDependencies {
  readonly client: Client;
  readonly config: Config;
  readonly logger: Logger;
}

/**
 * Creates the schedule, or updates it to this configuration; a paused one stays paused. Retries while
 * Temporal is unavailable, until `signal` is aborted.
 */
export async function scheduleDeliveryAudit(
  { client, config, logger }: ScheduleDependencies,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await createOrUpdate(client, config);
      logger.debug({ intervalMs: config.AUDIT_INTERVAL_MS }, 'delivery audit scheduled');
      return;
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error, retryMs }, 'cannot schedule the delivery audit; retrying');
      await pause(retryMs, signal);
    }
  }
}

const retryMs = 5_000;

async function createOrUpdate(client: Client, config: Config): Promise<void> {
  const plan = planOf(config);
  try {
    await client.schedule.create({ scheduleId: deliveryAuditScheduleId, ...plan });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const schedule = client.schedule.getHandle(deliveryAuditScheduleId);
    await schedule.update((present) => ({ ...present, ...plan }));
  }
}

type Plan = Pick<
  ScheduleOptions<ScheduleOptionsStartWorkflowAction<typeof auditDelivery>>,
  'spec' | 'action' | 'policies'
>;

function planOf(config: Config): Plan {
  const options: DeliveryAuditOptions = {
    unpublishedAfterMs: config.AUDIT_UNPUBLISHED_AFTER_MS,
    unconfirmedAfterMs: config.AUDIT_UNCONFIRMED_AFTER_MS,
    unhandledAfterMs: config.AUDIT_UNHANDLED_AFTER_MS,
    undecidedAfterMs: config.AUDIT_UNDECIDED_AFTER_MS,
  };
  return {
    spec: { intervals: [{ every: config.AUDIT_INTERVAL_MS }] },
    action: {
      type: 'startWorkflow',
      workflowType: workflowTypes.auditDelivery,
      // Temporal appends the time of the run.
      workflowId: deliveryAuditScheduleId,
      taskQueue: taskQueues.commerce,
      args: [options],
    },
    // The next audit makes up for a missed one.
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
  };
}
