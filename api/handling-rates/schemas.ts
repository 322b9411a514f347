/** Handling rates in answers. */
import { z } from 'zod';

const milliseconds = z.number().nullable().describe('null where nothing was handled');

/** What was handled lately, in intervals of one length. */
export const handlingRates = z.object({
  seconds: z.int().describe('the length of each stretch of time'),
  items: z
    .array(
      z.object({
        at: z.iso.datetime().describe('when it began'),
        events: z.int().describe('how many were handled'),
        medianMs: milliseconds,
        p95Ms: milliseconds,
      }),
    )
    .describe('the oldest first; the last one is not over yet'),
});
