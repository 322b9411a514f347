/** What each event does to each product: amounts that add up, and snapshots with their version. */
import { each, effects, either, negative, nothing, when } from '../effects';

export const productEffects = effects({
  name: 'product_effect',
  columns: {
    product_id: 'text',
    user_id: 'text',
    views: 'bigint',
    likes: 'bigint',
    sales: 'numeric',
    stock: 'bigint',
    stock_version: 'bigint',
    like_count: 'bigint',
    like_version: 'bigint',
    liked: 'boolean',
  },
  on: {
    ProductRegistered: ({ productId, stock, version }) => ({
      product_id: productId,
      stock,
      stock_version: version,
    }),
    StockAdjusted: ({ productId, stock, version }) => ({
      product_id: productId,
      stock,
      stock_version: version,
    }),
    LikeChanged: ({ productId, userId, liked, likeCount, version }) => ({
      product_id: productId,
      user_id: userId,
      likes: either(liked, 1, -1),
      like_count: likeCount,
      like_version: version,
      liked,
    }),
    ProductViewed: ({ productId, userId }) => ({
      product_id: productId,
      user_id: userId,
      views: 1,
    }),
    OrderConfirmed: ({ userId, items }) =>
      each(items, ({ productId, quantity }) => ({
        product_id: productId,
        user_id: userId,
        sales: quantity,
      })),
    OrderCancelled: ({ userId, items, wasConfirmed }) =>
      when(
        wasConfirmed,
        each(items, ({ productId, quantity }) => ({
          product_id: productId,
          user_id: userId,
          sales: negative(quantity),
        })),
      ),
    OrderPlaced: nothing,
    PaymentCompleted: nothing,
    PaymentFailed: nothing,
  },
});
