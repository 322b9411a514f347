/** Delivers notifications: at least once, and once to a receiver that keeps their keys. */
import { Context, log } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import type { Event } from '../../../events/envelope';
import { notificationAttempts } from '../../../platform/observability/telemetry';
import { withJitter } from '../../../platform/process/waiting';
import { createOutagePacing, type OutagePacing } from '../../outage-pacing';
import { isPending, markDelivered, markRefused } from './outbox';
import type { Subscription } from './registry';
import { sendWebhook, webhookId, type WebhookOutcome } from './webhook';

export interface NotificationDependencies {
  readonly pool: Pool;
  readonly subscriptions: readonly Subscription[];
  /** Key of the signatures; without it there are none. */
  readonly secret: Buffer | undefined;
}

/** The `type` of failures for a notification that the receiver will never take. */
const notificationRefused = 'NOTIFICATION_REFUSED';

/** The `type` of failures for a receiver that may take the notification later. */
const receiverUnavailable = 'RECEIVER_UNAVAILABLE';

const results: readonly WebhookOutcome['kind'][] = ['delivered', 'unavailable', 'refused'];

/** For each receiver: the more of its notifications wait, the less often each is tried. */
const patience = { triesPerSecond: 5, longestMs: 600_000 };

/** Timeout of an attempt, in ms; `workflows/collector/notify.ts` allows for more. */
const attemptMs = 10_000;

export function createNotificationActivities({
  pool,
  subscriptions,
  secret,
}: NotificationDependencies) {
  // Initialised to zero: an increase needs the zero before it.
  for (const { notification } of subscriptions) {
    for (const result of results) {
      notificationAttempts.inc({ notification: notification.name, result }, 0);
    }
  }
  const pacingOf = new Map<string, OutagePacing>();
  return {
    /**
     * Delivers a notification, unless that is done. The row decides: a retry, or another workflow of the
     * same notification, sends nothing once the row says that it is delivered.
     *
     * @param value the event as JSON
     * @throws ApplicationFailure of type `RECEIVER_UNAVAILABLE`, with the time until the next attempt;
     *   non-retryable of type `NOTIFICATION_REFUSED`
     */
    async notifyReceiver(name: string, value: string): Promise<void> {
      const event = JSON.parse(value) as Event;
      const due = { name, eventId: event.id };
      if (!(await isPending(pool, due))) return;
      const subscription = subscriptions.find(({ notification }) => notification.name === name);
      const outcome = await (subscription === undefined
        ? unsubscribed(name)
        : sendWebhook(
            {
              url: subscription.url,
              id: webhookId(name, event.id),
              body: JSON.stringify(subscription.notification.tell(event)),
            },
            { secret, timeoutMs: attemptMs, signal: Context.current().cancellationSignal },
          ));
      if (outcome.kind === 'delivered') await markDelivered(pool, due);
      if (outcome.kind === 'refused') await markRefused(pool, due, outcome.detail);
      notificationAttempts.inc({ notification: name, result: outcome.kind });
      const pacing = pacingOf.get(name) ?? createOutagePacing(patience);
      pacingOf.set(name, pacing);
      if (outcome.kind === 'unavailable') {
        throw unavailable(outcome, Context.current().info.attempt, pacing.refused());
      }
      pacing.succeeded();
      if (outcome.kind === 'refused') {
        throw ApplicationFailure.nonRetryable(outcome.detail, notificationRefused);
      }
    },
  };
}

/** Another worker may have its receiver's address, or this one may get it again. */
function unsubscribed(name: string): WebhookOutcome {
  log.warn('this worker has no receiver of a notification', { notification: name });
  return { kind: 'unavailable', detail: `No receiver of '${name}' is configured here.` };
}

function unavailable(
  { detail, retryAfterMs = 0 }: Extract<WebhookOutcome, { kind: 'unavailable' }>,
  attempt: number,
  pacedMs: number,
): ApplicationFailure {
  return ApplicationFailure.create({
    type: receiverUnavailable,
    message: detail,
    nextRetryDelay: Math.max(retryDelayMs(attempt), pacedMs, retryAfterMs),
  });
}

/** The wait after an attempt where few wait, in ms: from half a second to a minute, with jitter. */
export function retryDelayMs(attempt: number): number {
  return withJitter(Math.min(1_000 * 2 ** Math.min(attempt - 1, 6), 60_000));
}
