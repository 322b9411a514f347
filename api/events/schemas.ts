/** The audit log in answers. */
import { z } from 'zod';
import { pageSchema } from '../http/page-schema';

/** An event of the audit log. */
export const loggedEventSchema = z.object({
  eventId: z.string(),
  type: z.string(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  aggregateId: z.string(),
  occurredAt: z.iso.datetime(),
  recordedAt: z.iso.datetime(),
  description: z.string().describe('what it says beside its type, for people'),
  event: z.looseObject({}).describe('the whole CloudEvent'),
});

/** A page of the audit log. */
export const eventPage = pageSchema(loggedEventSchema).extend({
  nextCursor: z.string().nullable().describe('null when there are no more events now'),
  lastCursor: z
    .string()
    .nullable()
    .describe('where to continue later; null while the log is empty'),
});
