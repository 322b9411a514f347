/** The state of the system in answers. */
import { z } from 'zod';
import { consumptionSchema } from '../pipeline/schemas';

const waiting = z
  .object({
    count: z.int().describe('10,000 at most'),
    more: z.boolean().describe('whether more wait than were counted'),
    oldestAt: z.iso.datetime().nullable().describe('null when nothing waits'),
  })
  .nullable()
  .describe('null when it could not be measured');

const problem = z.object({
  code: z.string().describe('stable, for programs'),
  verdict: z.enum(['degraded', 'unavailable']),
  since: z.iso.datetime().describe('as the data say, or as this process has first seen it'),
  title: z.string(),
  detail: z.string().describe('what it means, with figures'),
  sentence: z.string().describe('title, time in UTC and detail in one'),
  runbook: z.string().describe('the section of the runbook that says what to do'),
});

const bridge = z.object({
  id: z.string(),
  mode: z.enum(['per-event', 'coalesce']),
  inFlight: z.int().describe('workflows that are started and not finished'),
  slots: z.int().describe('most of them at once'),
  pausedBy: z.array(z.string()).describe('empty while it consumes'),
  lagGrowsSince: z.iso.datetime().nullable(),
});

const audit = z.object({
  workflowId: z.string(),
  startedAt: z.iso.datetime(),
  failure: z.string().nullable().describe('why it did not get to its end'),
  findings: z.record(z.string(), z.int()).describe('what it found and mended, by kind'),
});

const verification = z.object({
  outcome: z.enum(['holds', 'differs']),
  finishedAt: z.iso.datetime(),
  by: z.string(),
  violated: z.array(z.string()).describe('the names of the invariants that are violated'),
});

/** The verdict on the system, and what it is made of. */
export const statusSchema = z.object({
  verdict: z
    .enum(['ok', 'degraded', 'unavailable', 'unknown'])
    .describe('ok only if everything was measured and nothing is wrong'),
  measuredAt: z.iso.datetime(),
  problems: z.array(problem).describe('the worst first'),
  unmeasured: z
    .array(z.object({ what: z.string(), reason: z.string() }))
    .describe('what could not be measured, and why'),
  servers: z.array(
    z.object({
      name: z.string(),
      status: z.enum(['up', 'down']),
      required: z.boolean().describe('whether the API is unavailable without it'),
      reason: z.string().optional(),
      downSince: z.iso.datetime().nullable(),
    }),
  ),
  outbox: waiting,
  lag: z
    .object({ total: z.int(), oldestAt: z.iso.datetime().nullable() })
    .nullable()
    .describe('messages that are not committed; null when it could not be measured'),
  bridges: z.array(bridge).nullable().describe('null when they could not be read'),
  consumption: consumptionSchema
    .nullable()
    .describe('what operators hold or bound; null when it could not be read'),
  processes: z
    .array(z.object({ name: z.string(), running: z.int().nullable() }))
    .nullable()
    .describe('running is null where it could not be counted'),
  orders: waiting.describe('undecided orders; null when they could not be counted'),
  deadLetters: waiting.describe('those that wait for a decision; null when not counted'),
  audit: audit.nullable().describe('the last one; null when none has ended or it is not known'),
  verification: verification
    .nullable()
    .describe(
      'the last one that has checked every invariant; null when none has or it is not known',
    ),
});
