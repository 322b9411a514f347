/** Metrics of products, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema, eventIdSchema } from '../../events/identifiers';
import { figurePart, timestampPart } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { pageOrder, pageQuery, readPage } from '../http/pages';
import { Problem, problemSchema } from '../http/problem';
import { toLoggedEventAnswer } from '../events/routes';
import { productParams } from '../products/named-product';
import type { HistoryEvent, ProductUser, RankedProduct } from './reads';
import {
  historyPage,
  productMetricsSchema,
  productUserPage,
  rankingPage,
  rankings,
} from './schemas';

/** `GET /metrics/products`, `GET /metrics/products/{productId}`, its `…/users` and `…/history`. */
export function productMetricsRoutes(services: Services): FastifyPluginAsyncZod {
  const { productMetricsReads: reads, productDetails } = services;
  return async (app) => {
    app.get(
      '/metrics/products',
      {
        config: {
          operation: {
            operationId: 'rankProducts',
            tag: 'Metrics',
            summary: 'Rank the products',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/metrics/products?sort=views&limit=3' },
          },
        },
        schema: {
          querystring: rankingQuery,
          response: { 200: rankingPage, default: problemSchema },
        },
      },
      async ({ query: { sort, day, ...query } }) => {
        const { items, nextCursor } = await readPage(query, byFigure, (page) =>
          reads.rank(sort, page, day),
        );
        const names = await productDetails.findNames(items.map(({ productId }) => productId));
        return {
          items: items.map((item) => ({ ...item, name: names.get(item.productId) ?? null })),
          nextCursor,
        };
      },
    );

    app.get(
      '/metrics/products/:productId',
      {
        config: {
          operation: {
            operationId: 'findProductMetrics',
            tag: 'Metrics',
            summary: 'Get the metrics of a product',
            key: 'operator',
            problems: [...databaseProblems, 'METRICS_NOT_FOUND'],
            example: { url: '/v1/metrics/products/$PRODUCT', after: 'MEASURED' },
          },
        },
        schema: {
          params: productParams,
          response: { 200: productMetricsSchema, default: problemSchema },
        },
      },
      async ({ params: { productId } }) => {
        const found = await reads.find(productId);
        if (found === undefined) throw nothingKnown(productId);
        return { ...found, updatedAt: found.updatedAt.toISOString() };
      },
    );

    app.get(
      '/metrics/products/:productId/users',
      {
        config: {
          operation: {
            operationId: 'listProductUsers',
            tag: 'Metrics',
            summary: 'List the users of a product with their activity',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/metrics/products/$PRODUCT/users', after: 'MEASURED' },
          },
        },
        schema: {
          params: productParams,
          querystring: pageQuery,
          response: { 200: productUserPage, default: problemSchema },
        },
      },
      async ({ params: { productId }, query }) => {
        const { items, nextCursor } = await readPage(query, byUserId, (page) =>
          reads.listUsers(productId, page),
        );
        return {
          items: items.map((user) => ({ ...user, lastEventAt: user.lastEventAt.toISOString() })),
          nextCursor,
        };
      },
    );

    app.get(
      '/metrics/products/:productId/history',
      {
        config: {
          operation: {
            operationId: 'listProductHistory',
            tag: 'Metrics',
            summary: 'List the events of a product',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/metrics/products/$PRODUCT/history?limit=5', after: 'MEASURED' },
          },
        },
        schema: {
          params: productParams,
          querystring: pageQuery,
          response: { 200: historyPage, default: problemSchema },
        },
      },
      async ({ params: { productId }, query }) => {
        const { items, nextCursor } = await readPage(query, byTime, (page) =>
          reads.listHistory(productId, page),
        );
        return {
          items: items.map(({ handledAt, workflowId, ...event }) => ({
            ...toLoggedEventAnswer(event),
            workflowId,
            handledAt: handledAt?.toISOString() ?? null,
          })),
          nextCursor,
        };
      },
    );
  };
}

const rankingQuery = pageQuery.extend({
  sort: z.enum(rankings).default('sales'),
  // PostgreSQL has no year 0.
  day: z.iso
    .date()
    .refine((day) => !day.startsWith('0000'), 'must be in the years 1 to 9999')
    .optional()
    .describe('YYYY-MM-DD in UTC; default: all time'),
});

const byFigure = pageOrder(
  [figurePart, aggregateIdSchema],
  ({ position }: RankedProduct) => position,
);
const byUserId = pageOrder([aggregateIdSchema], ({ userId }: ProductUser) => [userId]);
const byTime = pageOrder([timestampPart, eventIdSchema], ({ position }: HistoryEvent) => position);

function nothingKnown(productId: string): Problem {
  return new Problem('METRICS_NOT_FOUND', {
    detail: `No event of a product ${productId} has been handled yet.`,
  });
}
