/** What the stream of handled events sends. */
import { z } from 'zod';

/** An event whose effects have been applied. */
export const handledEventSchema = z.object({
  eventId: z.string(),
  type: z.string(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  aggregateId: z.string(),
  occurredAt: z.iso.datetime(),
  handledAt: z.iso.datetime(),
  workflowId: z.string(),
});

/** The data of each type of server-sent event. */
export interface StreamedData {
  readonly handled: z.output<typeof handledEventSchema>;
  /** The stream has started; `anew` when it could not resume from `Last-Event-ID`. */
  readonly ready: { readonly anew: boolean };
  /** Since when the database is unavailable; null when it is available again. */
  readonly outage: { readonly since: string | null };
}
