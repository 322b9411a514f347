import { z } from 'zod';
import { defineEvent } from '../definition';
import { version } from '../fields';
import { aggregateIdSchema } from '../identifiers';
import { shownLikeCount } from '../product-detail';

/** A like or an unlike. `version` orders the likes of the product. */
export const likeChanged = defineEvent({
  type: 'LikeChanged',
  topic: 'catalog-events',
  aggregate: 'productId',
  summary: 'A user liked or unliked a product.',
  versions: {
    1: z.object({
      productId: aggregateIdSchema,
      userId: aggregateIdSchema,
      liked: z.boolean(),
      likeCount: z.int().min(0).describe('after the change'),
      version,
    }),
  },
  example: { productId: 'product-1', userId: 'user-1', liked: true, likeCount: 1, version: 1 },
  describe: ({ userId, liked, likeCount }) =>
    `${userId} ${liked ? 'likes it' : 'unlikes it'}, ${likeCount} in total`,
  staleDetails: ({ productId, liked, likeCount }) => {
    const previous = Math.max(liked ? likeCount - 1 : likeCount + 1, 0);
    return shownLikeCount(previous) === shownLikeCount(likeCount) ? [] : [productId];
  },
});
