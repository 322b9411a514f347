/** What the events of products add up to, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { rankings } from '../collector-reads';
import { readCursor, writeCursor } from '../cursor';
import type { Services } from '../dependencies';
import { pageLimitSchema } from '../input';
import { requireRole } from '../plugins/authentication';
import { Problem, problemSchema } from '../problem';
import { productParams } from './products';

/** `GET /metrics/products`, `GET /metrics/products/{productId}` and `…/users`. */
export function metricsRoutes({ collectorReads }: Services): FastifyPluginAsyncZod {
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
        return { items, nextCursor: last === undefined ? null : writeCursor(last.position) };
      },
    );

    app.get(
      '/metrics/products/:productId',
      { schema: { params: productParams, response: { 200: metrics, default: problemSchema } } },
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

const rankPosition = [z.string().regex(/^-?\d{1,40}$/), aggregateIdSchema] as const;

const nextCursor = z.string().nullable().describe('null on the last page');

const sold = z.number().describe('units sold, less those of confirmed orders that were cancelled');

const ranking = z.object({
  items: z.array(
    z.object({
      productId: z.string(),
      viewCount: z.int(),
      likeCount: z.int().describe('of a day: likes less likes withdrawn'),
      salesCount: sold,
    }),
  ),
  nextCursor,
});

const metrics = z.object({
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

function nothingKnown(productId: string): Problem {
  return new Problem(404, 'METRICS_NOT_FOUND', `No event has told of a product ${productId} yet.`);
}
