/** `notify`: delivers one notification to its receiver, however long that is away. */
import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { createNotificationActivities } from '../../activities/collector/notifications/activities';
import type { ReceivedEvent } from '../../events/received';
import { notificationsTaskQueue } from '../../events/workflow-names';
import { isFinal } from '../activity-policies';
import { park, whyFailed } from './park-event';

// On a task queue of their own, since an attempt may wait for the receiver for ten seconds. After a
// receiver that is away the attempt itself says when the next one is due; the policy is for a database
// that is away, and for a worker that was killed.
const untilTaken: ActivityOptions = {
  taskQueue: notificationsTaskQueue,
  startToCloseTimeout: '20 seconds',
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '10 seconds' },
};

const { notifyReceiver } =
  proxyActivities<ReturnType<typeof createNotificationActivities>>(untilTaken);

/**
 * Retries without end. A receiver that refuses the notification for good makes its event a dead letter,
 * whose redrive delivers it again.
 *
 * @throws ApplicationFailure of type `NOTIFICATION_PARKED` when the receiver has refused it: the
 *   workflow fails, so that it is visible in the Web UI
 */
export async function notify(name: string, event: ReceivedEvent): Promise<void> {
  try {
    await notifyReceiver(name, event.value);
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure) || !isFinal(error))
      throw error;
    const why = whyFailed(error);
    const deadLetterId = await park(event, why);
    throw ApplicationFailure.nonRetryable(
      `Parked as dead letter ${deadLetterId}: ${why.detail}`,
      'NOTIFICATION_PARKED',
    );
  }
}
