/** The audit log, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import { describeEvent, eventTypes } from '../../events/schemas';
import type { LoggedEvent } from '../../operations/event-log';
import { transactionPart } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { pageLimitSchema, pageOrder, readPage } from '../http/pages';
import { problemSchema } from '../http/problem';
import { eventPage } from './schemas';

/** `GET /events`. */
export function eventRoutes({ eventReads }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/events',
      {
        config: {
          operation: {
            operationId: 'listEvents',
            tag: 'Events',
            summary: 'Read the audit log',
            description:
              'In commit order. Following `lastCursor` returns every event exactly once: an event that ' +
              'is committed late comes late, and is never skipped.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/events?type=StockAdjusted&limit=2' },
          },
        },
        schema: {
          querystring: logQuery,
          response: { 200: eventPage, default: problemSchema },
        },
      },
      async ({ query: { type, aggregateId, after: cursor, limit } }) => {
        const filter = { types: type === undefined ? eventTypes : [type], aggregateId };
        const { items, nextCursor } = await readPage({ limit, cursor }, asLogged, (page) =>
          eventReads.list(filter, page),
        );
        const last = items.at(-1);
        const lastCursor = last === undefined ? (cursor ?? null) : asLogged.cursorOf(last);
        return { items: items.map(toLoggedEventAnswer), nextCursor, lastCursor };
      },
    );
  };
}

const logQuery = z.strictObject({
  type: z.enum(eventTypes).optional(),
  aggregateId: aggregateIdSchema.optional(),
  after: z.string().optional().describe('cursor of an earlier page'),
  limit: pageLimitSchema,
});

const asLogged = pageOrder(
  [transactionPart, eventIdSchema],
  ({ position }: LoggedEvent) => position,
  'after',
);

/** An event of the audit log as it is answered. */
export function toLoggedEventAnswer({ occurredAt, recordedAt, event, ...rest }: LoggedEvent) {
  return {
    ...rest,
    occurredAt: occurredAt.toISOString(),
    recordedAt: recordedAt.toISOString(),
    description: describeEvent(event),
    event: event as unknown as Record<string, unknown>,
  };
}
