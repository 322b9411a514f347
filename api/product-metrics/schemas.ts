/** Metrics of products in answers. */
import { z } from 'zod';
import { loggedEventSchema } from '../events/schemas';
import { pageSchema } from '../http/page-schema';

/** What products can be ranked by. */
export const rankings = ['sales', 'likes', 'views'] as const;

/** What products are ranked by. */
export type Ranking = (typeof rankings)[number];

const sold = z.number().describe('units sold, less those of confirmed orders that were cancelled');

/** A page of a ranking. */
export const rankingPage = pageSchema(
  z.object({
    productId: z.string(),
    name: z.string().nullable().describe('null where the shop does not know the product'),
    viewCount: z.int(),
    likeCount: z.int().describe('of a day: likes less likes withdrawn'),
    salesCount: sold,
  }),
);

/** What a product's events add up to. */
export const productMetricsSchema = z.object({
  productId: z.string(),
  viewCount: z.int(),
  likeCount: z.int(),
  salesCount: sold,
  stock: z.int().nullable().describe('null until an event has told of it'),
  updatedAt: z.iso.datetime(),
});

/** A page of what each user did with a product. */
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
    workflowId: z.string().nullable().describe('what handled it; null until it is handled'),
    handledAt: z.iso.datetime().nullable(),
  }),
  'the newest first',
);
