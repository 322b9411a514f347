/** The audit log and the journeys of events, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import { describeEvent, eventTypes } from '../../events/schemas';
import type { EventJourney } from '../../operations/event-journey';
import type { LoggedEvent } from '../../operations/event-log';
import { transactionPart } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { pageLimitSchema, pageOrder, readPage } from '../http/pages';
import { Problem, problemSchema } from '../http/problem';
import { eventPage, journeySchema } from './schemas';

/** `GET /events`, `GET /events/{eventId}`. */
export function eventRoutes({ eventReads, eventJourneys }: Services): FastifyPluginAsyncZod {
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

    app.get(
      '/events/:eventId',
      {
        config: {
          operation: {
            operationId: 'findEvent',
            tag: 'Events',
            summary: 'Follow an event from its commit to its effects',
            description:
              'Also an event that is not logged yet: in the outbox, in Kafka, or parked. What Temporal ' +
              'or Kafka would add is null while they are unavailable.',
            key: 'operator',
            problems: [...databaseProblems, 'EVENT_NOT_FOUND'],
            example: { url: '/v1/events/$EVENT', after: 'EVENT' },
          },
        },
        schema: { params: eventParams, response: { 200: journeySchema, default: problemSchema } },
      },
      async ({ params: { eventId } }) => {
        const found = await eventJourneys.find(eventId);
        if (found === undefined) throw unknownEvent(eventId);
        return toJourneyAnswer(found);
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

const eventParams = z.strictObject({ eventId: eventIdSchema });

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

function toJourneyAnswer({ event, effects, evictions, deadLetters, ...rest }: EventJourney) {
  return {
    ...rest,
    effects: effects && effects.map((each) => ({ ...each, changes: [...each.changes] })),
    evictions: { ...evictions, productIds: [...evictions.productIds] },
    deadLetters: [...deadLetters],
    event: event as unknown as Record<string, unknown> | null,
  };
}

function unknownEvent(eventId: string): Problem {
  return new Problem('EVENT_NOT_FOUND', {
    detail:
      `No event ${eventId} in the outbox, the audit log, the dead letters or a running workflow. ` +
      'Check the ID; a view, or an event of another producer, is known once a workflow has it.',
  });
}
