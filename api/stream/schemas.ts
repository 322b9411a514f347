/** What the stream of handled events sends. */

/** An event whose effects have been applied. Times are RFC 3339. */
interface HandledEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly aggregateId: string;
  readonly occurredAt: string;
  readonly handledAt: string;
  /** The workflow that handled it. */
  readonly workflowId: string;
}

/** The data of each type of server-sent event. */
export interface StreamedData {
  readonly handled: HandledEvent;
  /** The stream has started; `anew` when it could not resume from `Last-Event-ID`. */
  readonly ready: { readonly anew: boolean };
  /** Since when the database is unavailable; null when it is available again. */
  readonly outage: { readonly since: string | null };
}
