/** Metrics of products in answers. */
import { z } from 'zod';
import { loggedEventSchema } from '../events/schemas';
import { pageSchema } from '../http/page-schema';

/** What products can be ranked by. */
export const rankings = ['sales', 'likes', 'views'] as const;

/** What products are ranked by. */
export type Ranking = (typeof rankings)[number];

const sold = z.number().describe('units sold, minus those of cancelled orders');

/** A page of a ranking. */
export const rankingPage = pageSchema(
  z.object({
    productId: z.string(),
    name: z.string().nullable().describe('null when the product is not in the catalog'),
    viewCount: z.int(),
    likeCount: z.int().describe('with `day`: likes minus unlikes of that day'),
    salesCount: sold,
  }),
);

/** Metrics of a product. */
export const productMetricsSchema = z.object({
  productId: z.string(),
  viewCount: z.int(),
  likeCount: z.int(),
  salesCount: sold,
  stock: z.int().nullable().describe('null until an event reports it'),
  updatedAt: z.iso.datetime(),
});

/** A page of the users of a product. */
export const productUserPage = pageSchema(
  z.object({
    userId: z.string(),
    viewCount: z.int(),
    liked: z.boolean(),
    purchaseCount: z.number(),
    lastEventAt: z.iso.datetime(),
  }),
);

/** A page of a product's events. */
export const historyPage = pageSchema(
  loggedEventSchema.extend({
    workflowId: z.string().nullable().describe('workflow that handled the event; null until then'),
    handledAt: z.iso.datetime().nullable(),
  }),
  'newest first',
);
