/** The audit log: every event that was accepted, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import { eventDefinitions, type EventType } from '../../events/schemas';
import type { LoggedEvent } from '../../operations/event-log';
import { readCursor, transactionPart, writeCursor } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { pageLimitSchema } from '../http/input';
import { requireRole } from '../http/plugins/authentication';
import { problemSchema } from '../http/problem';

/** `GET /events`. */
export function eventRoutes({ collectorReads }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/events',
      {
        onRequest: requireRole('operator'),
        schema: {
          description:
            'The audit log in the order in which it grows. Following `lastCursor` gives every event ' +
            'exactly once: one that is committed late comes late, and is never skipped.',
          querystring: logQuery,
          response: { 200: log, default: problemSchema },
        },
      },
      async ({ query: { type, aggregateId, after: cursor, limit } }) => {
        const after = cursor === undefined ? undefined : readCursor(cursor, logPosition, 'after');
        const filter = { types: type === undefined ? eventTypes : [type], aggregateId };
        const found = await collectorReads.listEvents(filter, { limit: limit + 1, after });
        const events = found.slice(0, limit);
        const last = events.at(-1);
        const lastCursor = last === undefined ? (cursor ?? null) : writeCursor(last.position);
        const nextCursor = found.length > limit ? lastCursor : null;
        return { items: events.map(toLoggedEventAnswer), nextCursor, lastCursor };
      },
    );
  };
}

const eventTypes = Object.keys(eventDefinitions) as EventType[];

const logQuery = z.strictObject({
  type: z.enum(eventTypes).optional(),
  aggregateId: aggregateIdSchema.optional(),
  after: z.string().optional().describe('a cursor of an earlier page'),
  limit: pageLimitSchema,
});

const logPosition = [transactionPart, eventIdSchema] as const;

/** An event of the audit log, in an answer. */
export const loggedEventSchema = z.object({
  eventId: z.string(),
  type: z.string(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  aggregateId: z.string(),
  occurredAt: z.iso.datetime(),
  recordedAt: z.iso.datetime(),
  event: z.looseObject({}).describe('the whole event, its envelope included'),
});

const log = z.object({
  items: z.array(loggedEventSchema),
  nextCursor: z.string().nullable().describe('null when there is nothing more now'),
  lastCursor: z
    .string()
    .nullable()
    .describe('where to go on later; null when nothing has been logged yet'),
});

/** An event of the audit log as it is answered. */
export function toLoggedEventAnswer({ occurredAt, recordedAt, event, ...rest }: LoggedEvent) {
  return {
    ...rest,
    occurredAt: occurredAt.toISOString(),
    recordedAt: recordedAt.toISOString(),
    event: event as unknown as Record<string, unknown>,
  };
}
