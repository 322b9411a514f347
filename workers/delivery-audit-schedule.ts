/** The schedule of the delivery audit: one, however many workers start. */
import {
  ScheduleAlreadyRunning,
  ScheduleOverlapPolicy,
  type Client,
  type ScheduleOptions,
  type ScheduleOptionsStartWorkflowAction,
} from '@temporalio/client';
import type { Config } from '../platform/process/config';
import { createBackoff, orAborted, pause } from '../platform/process/waiting';
import type { Logger } from '../platform/observability/logger';
import type { auditDelivery, DeliveryAuditOptions } from '../workflows/audit-delivery';
import { deliveryAuditScheduleId } from '../events/workflow-ids';
import { taskQueues, workflowTypes } from '../events/workflow-names';

export interface ScheduleDependencies {
  readonly client: Client;
  readonly config: Config;
  readonly logger: Logger;
}

/** Options of keeping the schedule. */
export interface KeepingOptions {
  /** How often it looks whether the schedule is still there, in ms. */
  readonly lookEveryMs?: number;
}

/**
 * Creates the schedule, or updates it to this configuration, and makes it anew whenever it is gone, as in a
 * namespace that came back empty, until `signal` is aborted. A paused one stays paused. While Temporal is
 * unavailable, it retries with backoff.
 */
export async function keepDeliveryAuditScheduled(
  { client, config, logger }: ScheduleDependencies,
  signal: AbortSignal,
  { lookEveryMs = 120_000 }: KeepingOptions = {},
): Promise<void> {
  const backoff = createBackoff({ firstMs: 5_000, longestMs: lookEveryMs });
  let isUpToDate = false;
  while (!signal.aborted) {
    let pauseMs = lookEveryMs;
    try {
      if (!isUpToDate) {
        await orAborted(createOrUpdate(client, config), signal);
        logger.debug({ intervalMs: config.AUDIT_INTERVAL_MS }, 'delivery audit scheduled');
      } else if (await orAborted(createIfMissing(client, config), signal)) {
        logger.warn('the schedule of the delivery audit was gone; it is there again');
      }
      isUpToDate = true;
      backoff.reset();
    } catch (error) {
      if (signal.aborted) return;
      pauseMs = backoff.next();
      logger.warn({ err: error, retryMs: pauseMs }, 'cannot schedule the delivery audit; retrying');
    }
    await pause(pauseMs, signal);
  }
}

async function createOrUpdate(client: Client, config: Config): Promise<void> {
  if (await createIfMissing(client, config)) return;
  const schedule = client.schedule.getHandle(deliveryAuditScheduleId);
  await schedule.update((present) => ({ ...present, ...planOf(config) }));
}

/**
 * Leaves a schedule that is there as it is: workers of two configurations would otherwise take turns at it.
 *
 * @returns whether it was missing
 */
async function createIfMissing(client: Client, config: Config): Promise<boolean> {
  try {
    await client.schedule.create({ scheduleId: deliveryAuditScheduleId, ...planOf(config) });
    return true;
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return false;
    throw error;
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
