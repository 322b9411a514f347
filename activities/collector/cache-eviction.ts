/** Evicts cached product details that an event has made stale. */
import type { Event } from '../../events/envelope';
import type { ReceivedEvent } from '../../events/received';
import { shownLikeCount, type ProductCache } from '../../cache/product-cache';

export function createCacheActivities({ cache }: { readonly cache: ProductCache }) {
  return {
    /** Evicts the products whose shown detail the events changed. Idempotent. */
    async evictCache(events: readonly Pick<ReceivedEvent, 'value'>[]): Promise<void> {
      await cache.evict(productsToEvict(events.map(({ value }) => JSON.parse(value) as Event)));
    },
  };
}

/** The distinct products whose shown detail the events change. */
export function productsToEvict(events: readonly Event[]): string[] {
  const changed = events.filter(changesShownDetail);
  return [...new Set(changed.map(({ subject }) => subject))];
}

/**
 * Whether an event changes what a product's detail shows. It shows whether the product is sold out, not
 * how many are left, and it shows a like count that is rounded once it is large; so most changes of
 * stock and of popular products' likes leave the cache alone. Decided from the event alone, so it is
 * right in any order and for duplicates.
 */
export function changesShownDetail(event: Event): boolean {
  switch (event.type) {
    case 'StockAdjusted':
      return isSoldOut(event.data.previousStock) !== isSoldOut(event.data.stock);
    case 'LikeChanged': {
      const { liked, likeCount } = event.data;
      const previous = liked ? likeCount - 1 : likeCount + 1;
      return shownLikeCount(Math.max(previous, 0)) !== shownLikeCount(likeCount);
    }
    default:
      return false;
  }
}

function isSoldOut(stock: number): boolean {
  return stock === 0;
}
