/** Filters of dead letters in requests. */
import { z } from 'zod';
import { storableText } from '../../events/storable-text';

// A Date, so that PostgreSQL never sees a text that it reads in another way.
const time = z.iso.datetime({ offset: true }).transform((text) => new Date(text));

/** Which dead letters are meant, whatever their status; all that is given must hold. */
export const deadLetterFilter = z.strictObject({
  reason: storableText(100).optional().describe('such as NOT_JSON'),
  topic: storableText(249).optional(),
  producer: z
    .union([z.literal(''), storableText(200)])
    .optional()
    .describe('as the message names it; empty for those that name none'),
  since: time.optional().describe('parked at this time or later'),
  until: time.optional().describe('parked before this time'),
});
