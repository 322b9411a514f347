/** Evicts cached product details that an event has made stale. */
import { log } from '@temporalio/activity';
import type { Event } from '../../events/envelope';
import type { ReceivedEvent } from '../../events/received';
import { definitionOf } from '../../events/schemas';
import type { ProductCache } from '../../cache/product-cache';
import { cacheEvictionsGivenUp } from '../../platform/observability/telemetry';

export function createCacheActivities({ cache }: { readonly cache: ProductCache }) {
  return {
    /**
     * Evicts products. Idempotent.
     *
     * @param stale the products' IDs; the events themselves from a workflow whose events an earlier
     *   version has logged
     */
    async evictCache(stale: Stale): Promise<void> {
      await cache.evict(productsOf(stale));
    },

    /** Counts and logs an eviction that waited for Redis until nothing stale could be left. */
    async giveUpEviction(stale: Stale): Promise<void> {
      const productIds = productsOf(stale);
      cacheEvictionsGivenUp.inc(productIds.length);
      const some = productIds.slice(0, loggedProducts);
      log.warn('gave up an eviction: what was stale has expired', {
        products: productIds.length,
        productIds: some,
      });
    },
  };
}

type Stale = readonly string[] | readonly Pick<ReceivedEvent, 'value'>[];

const loggedProducts = 10;

function productsOf(stale: Stale): readonly string[] {
  return areProducts(stale) ? stale : productsToEvict(stale.map(parseEvent));
}

function areProducts(stale: Stale): stale is readonly string[] {
  return typeof stale[0] !== 'object';
}

function parseEvent({ value }: Pick<ReceivedEvent, 'value'>): Event {
  return JSON.parse(value) as Event;
}

/** The distinct products whose shown detail the events change. */
export function productsToEvict(events: readonly Event[]): string[] {
  return [...new Set(events.flatMap(({ type, data }) => definitionOf(type).staleDetails(data)))];
}
