/**
 * Publishing `ProductViewed`. A view changes no state of the shop, so it needs no outbox; it must
 * never slow or fail the read, so it is sent without waiting.
 */
import { randomUUID } from 'node:crypto';
import { createEvent, toMessage, type EventOf } from '../../events/envelope';
import { eventDefinitions } from '../../events/schemas';
import type { KafkaSender } from '../../platform/kafka/sender';
import { eventsPublished, views } from '../../platform/observability/telemetry';
import { resultWithin } from '../../platform/process/waiting';
import { currentTraceHeaders } from '../../platform/observability/tracing';
import type { ViewFallback } from './view-fallback';

/** A view as an event. */
export type ViewEvent = EventOf<'ProductViewed'>;

/** Publishes views. */
export interface ViewPublisher {
  /** Returns at once, and never throws. */
  publish(productId: string, userId?: string): void;
  /** Waits a few seconds for acknowledgements, then hands the unacknowledged views to the fallback. */
  stop(): Promise<void>;
}

/** What publishing views needs. */
export interface ViewPublisherDependencies {
  readonly sender: KafkaSender;
  readonly fallback: ViewFallback;
}

const viewTopic = eventDefinitions.ProductViewed.topic;

// While the brokers are slow, views wait in memory: this bounds it to a few MB.
const maxUnacknowledged = 10_000;

const stopWithinMs = 5_000;

/** Sends views straight to Kafka, and those that cannot be sent to the fallback. */
export function createViewPublisher(dependencies: ViewPublisherDependencies): ViewPublisher {
  const { sender, fallback } = dependencies;
  const unacknowledged = new Map<ViewEvent, Promise<void>>();
  const send = async (view: ViewEvent): Promise<void> => {
    try {
      const message = toMessage(view);
      const headers = { ...message.headers, ...currentTraceHeaders() };
      await sender.send([{ ...message, headers }]);
      views.inc({ way: 'direct' });
      eventsPublished.inc({ type: view.type });
    } catch {
      // The sender has logged why. Whether it arrived or not, the same view again does no harm.
      if (unacknowledged.has(view)) fallback.take(view);
    } finally {
      unacknowledged.delete(view);
    }
  };
  return {
    publish(productId, userId) {
      const view = viewOf(productId, userId);
      const direct = sender.isConnected(viewTopic) && unacknowledged.size < maxUnacknowledged;
      if (direct) unacknowledged.set(view, send(view));
      else fallback.take(view);
    },
    async stop() {
      await resultWithin(Promise.all(unacknowledged.values()), stopWithinMs, undefined);
      for (const view of unacknowledged.keys()) fallback.take(view);
      unacknowledged.clear();
      await fallback.stop();
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
