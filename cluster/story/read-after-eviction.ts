/** Step: the eviction of the cached product. */
import { productCacheKey } from '../../cache/product-cache';
import { confirm, eventually } from './confirm';
import { waitForViews } from './find-resulting-rows';
import type { StoryProduct } from './register-product';
import { readDetail, storyViews } from './view-product';
import type { World } from './world';

/**
 * Confirms that sold out has evicted the detail, and that the next reader sees it sold out.
 *
 * @param cachedBefore the detail that was cached while there was stock
 */
export async function readAfterEviction(
  world: World,
  { productId }: StoryProduct,
  cachedBefore: string,
): Promise<void> {
  const { page, redis, signal } = world;
  const key = productCacheKey(productId);
  const cachedAfter = await eventually(signal, 'Redis answers', () => redis.get(key));
  page.say(`in Redis, under ${key}`);
  page.table([
    { when: 'while there was stock', cached: cachedBefore },
    { when: 'sold out', cached: cachedAfter },
  ]);
  confirm('the cached detail', cachedAfter, null);
  page.confirmed('evicted by the event with stock 0');
  await readDetail(world, productId, { cache: 'miss', soldOut: true });
  page.confirmed('the next reader sees it sold out');
  await waitForViews(world, productId, storyViews + 1);
}
