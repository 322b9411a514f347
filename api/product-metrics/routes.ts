/** What the events of products add up to, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import { rankings } from './reads';
import { figurePart, readCursor, timestampPart, writeCursor } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { pageLimitSchema } from '../http/input';
import { requireRole } from '../http/plugins/authentication';
import { Problem, problemSchema } from '../http/problem';
import { shareReading } from '../http/shared-reading';
import { loggedEventSchema, toLoggedEventAnswer } from '../events/routes';
import { productParams } from '../products/routes';

/**
 * `GET /metrics/products`, `GET /metrics/products/{productId}`, its `…/users` and `…/history`, and
 * `GET /metrics/rates`.
 */
export function metricsRoutes({ collectorReads, productDetails }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.addHook('onRequest', requireRole('operator'));

    app.get(
      '/metrics/products',
      { schema: { querystring: rankingQuery, response: { 200: ranking, default: problemSchema } } },
      async ({ query: { sort, day, limit, cursor } }) => {
        const after = cursor === undefined ? undefined : readCursor(cursor, rankPosition, 'cursor');
        const found = await collectorReads.rank(sort, { limit: limit + 1, after }, day);
        const items = found.slice(0, limit);
        const last = found.length > limit ? items.at(-1) : undefined;
        const names = await productDetails.findNames(items.map(({ productId }) => productId));
        return {
          items: items.map((item) => ({ ...item, name: names.get(item.productId) ?? null })),
          nextCursor: last === undefined ? null : writeCursor(last.position),
        };
      },
    );

    app.get(
      '/metrics/products/:productId',
      {
        schema: {
          params: productParams,
          response: { 200: productMetricsSchema, default: problemSchema },
        },
      },
      async ({ params: { productId } }) => {
        const found = await collectorReads.findProduct(productId);
        if (found === undefined) throw nothingKnown(productId);
        return { ...found, updatedAt: found.updatedAt.toISOString() };
      },
    );

    app.get(
      '/metrics/products/:productId/users',
      {
        schema: {
          params: productParams,
          querystring: page,
          response: { 200: users, default: problemSchema },
        },
      },
      async ({ params: { productId }, query: { limit, cursor } }) => {
        const after =
          cursor === undefined ? undefined : readCursor(cursor, [aggregateIdSchema], 'cursor')[0];
        const found = await collectorReads.listUsers(productId, { limit: limit + 1, after });
        const items = found.slice(0, limit);
        const last = found.length > limit ? items.at(-1) : undefined;
        return {
          items: items.map((user) => ({ ...user, lastEventAt: user.lastEventAt.toISOString() })),
          nextCursor: last === undefined ? null : writeCursor([last.userId]),
        };
      },
    );

    app.get(
      '/metrics/products/:productId/history',
      {
        schema: {
          params: productParams,
          querystring: page,
          response: { 200: history, default: problemSchema },
        },
      },
      async ({ params: { productId }, query: { limit, cursor } }) => {
        const after =
          cursor === undefined ? undefined : readCursor(cursor, historyPosition, 'cursor');
        const found = await collectorReads.listHistory(productId, { limit: limit + 1, after });
        const items = found.slice(0, limit);
        const last = found.length > limit ? items.at(-1) : undefined;
        return {
          items: items.map(({ handledAt, ...event }) => ({
            ...toLoggedEventAnswer(event),
            workflowId: event.workflowId,
            handledAt: handledAt?.toISOString() ?? null,
          })),
          nextCursor: last === undefined ? null : writeCursor(last.position),
        };
      },
    );

    const readRates = shareReading(rateFreshnessMs, () => collectorReads.readRates(rateStretch));
    app.get(
      '/metrics/rates',
      { schema: { response: { 200: rates, default: problemSchema } } },
      async () => ({
        seconds: rateStretch.seconds,
        items: (await readRates()).map((rate) => ({ ...rate, at: rate.at.toISOString() })),
      }),
    );
  };
}

const page = z.strictObject({ limit: pageLimitSchema, cursor: z.string().optional() });

const rankingQuery = page.extend({
  sort: z.enum(rankings).default('sales'),
  // PostgreSQL has no year 0.
  day: z.iso
    .date()
    .refine((day) => !day.startsWith('0000'), 'must be in the years 1 to 9999')
    .optional()
    .describe('YYYY-MM-DD in UTC; all time without'),
});

const rankPosition = [figurePart, aggregateIdSchema] as const;

const nextCursor = z.string().nullable().describe('null on the last page');

const sold = z.number().describe('units sold, less those of confirmed orders that were cancelled');

const ranking = z.object({
  items: z.array(
    z.object({
      productId: z.string(),
      name: z.string().nullable().describe('null where the shop does not know the product'),
      viewCount: z.int(),
      likeCount: z.int().describe('of a day: likes less likes withdrawn'),
      salesCount: sold,
    }),
  ),
  nextCursor,
});

/** What a product's events add up to, in an answer. */
export const productMetricsSchema = z.object({
  productId: z.string(),
  viewCount: z.int(),
  likeCount: z.int(),
  salesCount: sold,
  stock: z.int().nullable().describe('null until an event has told of it'),
  updatedAt: z.iso.datetime(),
});

const users = z.object({
  items: z.array(
    z.object({
      userId: z.string(),
      viewCount: z.int(),
      liked: z.boolean(),
      purchaseCount: z.number(),
      lastEventAt: z.iso.datetime(),
    }),
  ),
  nextCursor,
});

const historyPosition = [timestampPart, eventIdSchema] as const;

const history = z.object({
  items: z
    .array(
      loggedEventSchema.extend({
        workflowId: z.string().nullable().describe('what handled it; null until it is handled'),
        handledAt: z.iso.datetime().nullable(),
      }),
    )
    .describe('the newest first'),
  nextCursor,
});

// The last ten minutes: what a person sees of a change without looking away.
const rateStretch = { seconds: 2, count: 300 };
// Many pages that are opened together are one reading.
const rateFreshnessMs = 1_000;

const milliseconds = z.number().nullable().describe('null where nothing was handled');

const rates = z.object({
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

function nothingKnown(productId: string): Problem {
  return new Problem('METRICS_NOT_FOUND', {
    detail: `No event of a product ${productId} has been handled yet.`,
  });
}
