/** `changeLike`: likes or unlikes a product for a user. */
import { z } from 'zod';
import { defineCommand } from '../command-definition';
import { aggregateIdSchema } from '../identifiers';

export const changeLike = defineCommand<LikeOutcome>()({
  name: 'changeLike',
  workflowIdPrefix: 'like-',
  input: z.strictObject({
    requestId: z.string(),
    productId: aggregateIdSchema,
    userId: aggregateIdSchema,
    liked: z.boolean(),
  }),
  key: 'requestId',
  aggregate: 'productId',
  summary: ({ productId, userId, liked }) =>
    `${liked ? 'Like' : 'Unlike'} product ${productId} as ${userId}`,
});

export type ChangeLike = z.output<typeof changeLike.input>;

/** Outcome of a like change. */
export type LikeOutcome =
  | {
      readonly kind: 'liked' | 'not-liked';
      /** Users who like the product now. */
      readonly likeCount: number;
      /** Whether this request changed anything; if not, there is no event. */
      readonly changed: boolean;
    }
  | { readonly kind: 'unknown-product' };
