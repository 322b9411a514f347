/** Handling rates in answers. */
import { z } from 'zod';

const milliseconds = z.number().nullable().describe('null when no event was handled');

/** What was handled lately, in intervals of one length. */
export const handlingRates = z.object({
  seconds: z.int().describe('length of each interval'),
  items: z
    .array(
      z.object({
        at: z.iso.datetime().describe('start of the interval'),
        events: z.int().describe('events handled in the interval'),
        medianMs: milliseconds,
        p95Ms: milliseconds,
      }),
    )
    .describe('oldest first; the last interval is still open'),
});
