/**
 * Publishing `ProductViewed`. A view changes no state of the shop, so it needs no outbox; it must
 * never slow or fail the read, so it is handed over without waiting.
 */
import { randomUUID } from 'node:crypto';
import { createEvent, toMessage, type EventOf } from '../events/envelope';
import type { KafkaSender } from '../platform/kafka-sender';
import type { Logger } from '../platform/logger';

/** A view as an event. */
export type ViewEvent = EventOf<'ProductViewed'>;

/** Publishes views. */
export interface ViewPublisher {
  /** Returns at once, and never throws. */
  publish(productId: string, userId?: string): void;
}

/** Takes the views that could not be sent directly. */
export interface ViewFallback {
  /** Returns at once, and never throws. The view keeps its ID, so it counts once however it travels. */
  take(view: ViewEvent): void;
}

/** What publishing views needs. */
export interface ViewPublisherDependencies {
  readonly sender: KafkaSender;
  readonly fallback: ViewFallback;
}

// While the brokers are slow, views wait in memory: this bounds it to a few MB.
const maxUnacknowledged = 10_000;

/** Sends views straight to Kafka, and those that cannot be sent to the fallback. */
export function createViewPublisher(dependencies: ViewPublisherDependencies): ViewPublisher {
  const { sender, fallback } = dependencies;
  let unacknowledged = 0;
  const send = async (view: ViewEvent): Promise<void> => {
    unacknowledged += 1;
    try {
      await sender.send([toMessage(view)]);
    } catch {
      // The sender has logged why. Whether it arrived or not, the same view again does no harm.
      fallback.take(view);
    } finally {
      unacknowledged -= 1;
    }
  };
  return {
    publish(productId, userId) {
      const view = viewOf(productId, userId);
      if (sender.isConnected() && unacknowledged < maxUnacknowledged) void send(view);
      else fallback.take(view);
    },
  };
}

function viewOf(productId: string, userId: string | undefined): ViewEvent {
  return createEvent({
    id: randomUUID(),
    type: 'ProductViewed',
    time: new Date(),
    data: { productId, ...(userId === undefined ? {} : { userId }) },
  });
}

const logIntervalMs = 1_000;

/** Counts the views that it takes, and logs the count at most once a second. */
export function createCountingFallback(logger: Logger): ViewFallback & { readonly lost: number } {
  let lost = 0;
  let logAt = 0;
  return {
    get lost() {
      return lost;
    },
    take() {
      lost += 1;
      if (Date.now() < logAt) return;
      logAt = Date.now() + logIntervalMs;
      logger.warn({ lost }, 'views could not be published');
    },
  };
}
