/** Runs of the verification in answers. */
import { z } from 'zod';

const by = z
  .string()
  .describe('who started it: the name of an API key, or of a user of the command line');

const check = z.object({
  name: z.string(),
  rule: z.string().describe('the invariant, in words'),
  holds: z.boolean(),
  figures: z.record(z.string(), z.number()).describe('what was compared, by name'),
  differenceCount: z.int(),
  differences: z
    .array(z.record(z.string(), z.unknown()))
    .describe('the first of them; long values are cut'),
});

/** The run under way, and the last one that has ended. */
export const verificationSchema = z.object({
  running: z
    .object({ by, startedAt: z.iso.datetime() })
    .nullable()
    .describe('null while none is under way'),
  last: z
    .object({
      by,
      startedAt: z.iso.datetime(),
      finishedAt: z.iso.datetime(),
      outcome: z
        .enum(['holds', 'differs', 'incomplete'])
        .describe('differs: an invariant is violated; incomplete: not every one could be checked'),
      failure: z.string().nullable().describe('why it is incomplete'),
      checks: z.array(check).describe('every invariant; empty when it is incomplete'),
    })
    .nullable()
    .describe('null when none has ended'),
});
