/** Evicts cached product details that an event has made stale. */
import type { Event } from '../../events/envelope';
import type { ReceivedEvent } from '../../events/received';
import { definitionOf } from '../../events/schemas';
import type { ProductCache } from '../../cache/product-cache';

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
  return [...new Set(events.flatMap(({ type, data }) => definitionOf(type).staleDetails(data)))];
}
