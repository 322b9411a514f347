/** Step: a shopper views the product, which fills the cache. */
import { productCacheKey } from '../../cache/product-cache';
import { confirm, eventually, UnconfirmedError } from './confirm';
import type { StoryProduct } from './register-product';
import type { World } from './world';

const shopperName = 'ada';

/** Views before the product is sold out. */
export const storyViews = 2;

/**
 * Reads the detail twice: from Postgres, then from Redis.
 *
 * @returns the detail as it is cached now, as JSON.
 */
export async function viewProduct(world: World, { productId }: StoryProduct): Promise<string> {
  const { page, redis, signal } = world;
  await readDetail(world, productId, { cache: 'miss', soldOut: false });
  // The cache is filled after the answer is sent.
  const cached = await eventually(signal, 'the detail is cached', async () => {
    const json = await redis.get(productCacheKey(productId));
    if (json === null) throw new UnconfirmedError('it is not cached');
    return json;
  });
  await readDetail(world, productId, { cache: 'hit', soldOut: false });
  page.confirmed('cache miss, then cache hit; each view is an event');
  return cached;
}

/** Reads the detail as the shopper and confirms its source and content. */
export async function readDetail(
  { shop }: World,
  productId: string,
  expected: { readonly cache: 'miss' | 'hit'; readonly soldOut: boolean },
): Promise<void> {
  const request = { as: 'shopper', userId: shopperName } as const;
  const { status, headers, body } = await shop.get(`/v1/products/${productId}`, request);
  confirm('the status', status, 200);
  confirm('x-cache', headers.get('x-cache'), expected.cache);
  confirm('soldOut', (body as { soldOut?: unknown }).soldOut, expected.soldOut);
}
