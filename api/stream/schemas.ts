/** What the stream of handled events sends. */
import { z } from 'zod';

/** An event whose effects have been applied. */
const handledEvent = z.object({
  eventId: z.string(),
  type: z.string(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  aggregateId: z.string(),
  occurredAt: z.iso.datetime(),
  handledAt: z.iso.datetime(),
  workflowId: z.string().describe('the workflow that handled it'),
});

/** The last events of a type. */
export const handledEvents = z.object({
  items: z.array(handledEvent).describe('the one that was handled last comes first'),
});

/** The data of each type of server-sent event. */
export interface StreamedData {
  readonly handled: z.output<typeof handledEvent>;
  /** The stream has started; `anew` when it could not resume from `Last-Event-ID`. */
  readonly ready: { readonly anew: boolean };
  /** Since when the database is unavailable; null when it is available again. */
  readonly outage: { readonly since: string | null };
}
