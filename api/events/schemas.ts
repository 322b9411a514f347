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

const place = { topic: z.string(), partition: z.int(), offset: z.int() };

const stage = z.object({
  at: z.iso.datetime().nullable().describe('null when it is unknown'),
  afterMs: z
    .int()
    .nullable()
    .describe('since the stage before it that has a time; negative where clocks of servers differ'),
});

const effect = z.object({
  table: z.string().describe('the projection, in the schema `collector`'),
  about: z.string(),
  key: z.record(z.string(), z.string()).describe('which row'),
  changes: z.array(
    z.object({
      column: z.string(),
      kind: z
        .enum(['sum', 'newest', 'maximum'])
        .describe('added; kept if its version is the newest; kept if it is the greatest'),
      value: z.string(),
    }),
  ),
});

const letter = z.object({
  id: z.int(),
  ...place,
  status: z.enum(['parked', 'redriven', 'discarded']),
  reason: z.string(),
  tries: z.int(),
  parkedAt: z.iso.datetime(),
  resolvedAt: z.iso.datetime().nullable(),
  redrivingSince: z.iso.datetime().nullable(),
  note: z.string().nullable(),
  workflowId: z.string().describe('workflow that parked it'),
  carriesEvent: z.boolean().describe('false for another message that claims the ID'),
});

/** The journey of an event. */
export const journeySchema = z.object({
  eventId: z.string(),
  type: z.string().nullable().describe('null where only a dead letter or a workflow has the event'),
  aggregateId: z.string().nullable(),
  occurredAt: z.iso.datetime().nullable().describe('as the event says'),
  state: z.enum([
    'unpublished',
    'published',
    'taken',
    'logged',
    'handled',
    'parked',
    'redriven',
    'discarded',
  ]),
  summary: z.string().describe('the state in words'),
  remedy: z.string().nullable().describe('what to do; null when nothing is to be done'),
  committed: stage
    .extend({
      sequence: z.int().describe('order of the commits of an aggregate'),
      leftBehindAt: z.iso
        .datetime()
        .nullable()
        .describe('when the delivery audit first found it unpublished'),
    })
    .nullable()
    .describe("null for what is not in the shop's outbox: views, and events of other producers"),
  published: stage
    .extend({
      ...place,
      consumption: z
        .object({
          committed: z.int().nullable().describe('offset that the collector reads next'),
          ahead: z.int().describe('messages before it that the collector has not committed'),
        })
        .nullable()
        .describe('where the collector is; null once it is logged, or when Kafka is unavailable'),
    })
    .nullable(),
  taken: stage
    .extend({
      workflowId: z.string(),
      workflowType: z.string().nullable(),
      status: z
        .string()
        .nullable()
        .describe('such as RUNNING; null when Temporal is unavailable or has forgotten it'),
    })
    .nullable(),
  logged: stage.extend(place).nullable(),
  handled: stage.extend({ workflowId: z.string() }).nullable(),
  effects: z
    .array(effect)
    .nullable()
    .describe('what it adds up to once it is handled; null when PostgreSQL rejects its values'),
  evictions: z.object({
    productIds: z.array(z.string()).describe('products whose cached detail it makes stale'),
    state: z.enum(['none', 'waiting', 'done', 'unknown']),
  }),
  repeats: z
    .object({
      count: z.int().describe('one that was interrupted may count twice'),
      firstAt: z.iso.datetime(),
      lastAt: z.iso.datetime(),
      last: z.object(place).describe('where the last one stood'),
    })
    .nullable()
    .describe('later deliveries, which changed nothing; null for an event that came once'),
  deadLetters: z.array(letter).describe('newest first, at most 20'),
  event: z.looseObject({}).nullable().describe('the whole CloudEvent'),
});
