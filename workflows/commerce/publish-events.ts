/**
 * `publishEvents`: publishes overdue events: views that a stopping API could not send, or events that the
 * delivery audit found unpublished.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { Aggregate, createPublishActivities } from '../../activities/commerce/publish';
import type { Event } from '../../events/envelope';
import { untilAcknowledged } from '../activity-policies';

const publication = proxyActivities<ReturnType<typeof createPublishActivities>>(untilAcknowledged);

/** What to publish. */
interface Publication {
  /** Aggregates whose unpublished events are sent from the outbox, in order. */
  readonly aggregates?: readonly Aggregate[];
  /** Events that are not in the outbox. */
  readonly events?: readonly Event[];
}

/** Returns when the brokers have acknowledged all of it. */
export async function publishEvents({ aggregates = [], events = [] }: Publication): Promise<void> {
  if (aggregates.length > 0) await publication.publishOutbox(aggregates);
  if (events.length > 0) await publication.publishDirectly(events);
}
