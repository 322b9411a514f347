/**
 * Keeps the locked row of one product from holding up the shop's other products: every change of that product
 * waits for it, each with a connection of the pool and, as a local attempt, with a workflow task.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { DatabaseError } from 'pg';
import type { FindLockedProducts } from '../activities/commerce/locked-products';
import type { AdjustStock } from '../events/commands/adjust-stock';
import type { ChangeLike } from '../events/commands/change-like';
import type { OrderRequest } from '../events/orders';
import { orAborted } from '../platform/process/waiting';

/** Options of the bounds. */
export interface ProductLocksOptions {
  /** Which of several products it was; all of them where nobody can tell. */
  readonly findLocked?: FindLockedProducts;
  /** Attempts at one product that run at once, of one process; further ones wait without a connection. */
  readonly attemptsAtOnce?: number;
  /** How long after a wait for a lock was given up nothing is tried, in ms. */
  readonly pauseMs?: number;
  /** The current time, in ms. */
  readonly now?: () => number;
}

/** What is under way at a product, and when it may be tried again after its lock was not to be had. */
interface Product {
  running: number;
  /** Those that have been woken and have not gone on yet. */
  woken: number;
  readonly waiting: (() => void)[];
  lockedUntil?: number;
}

/** Runs attempts at products. */
export interface ProductLocks {
  /**
   * Runs an attempt when each of its products has room for it. Once a wait for a lock was given up, a single
   * attempt at a time finds out whether it can be had again.
   *
   * @param signal ends the wait for room; the attempt itself sees to its own end
   * @throws ProductLockedError while that is not known; whatever the attempt throws; the signal's reason
   */
  attempt<T>(
    productIds: readonly string[],
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T>;
}

/** Another transaction holds the lock of a product's row for long. A retry can succeed. */
export class ProductLockedError extends Error {
  override readonly name = 'ProductLockedError';
  readonly code = 'PRODUCT_LOCKED';

  constructor(
    /** Which it may be. */
    readonly productIds: readonly string[],
    options?: ErrorOptions,
  ) {
    super(
      `Another transaction locks what a change of ${productIds.join(' or ')} needs: its row in commerce.products, ` +
        'or, as a migration does, a table. pg_blocking_pids() names it; this goes on by itself once it has ended.',
      options,
    );
  }
}

/** No product is known to be locked at first. */
export function createProductLocks({
  findLocked = async (productIds) => productIds,
  attemptsAtOnce = 8,
  pauseMs = 1_000,
  now = Date.now,
}: ProductLocksOptions = {}): ProductLocks {
  const products = new Map<string, Product>();

  const enter = async (productId: string, signal?: AbortSignal): Promise<void> => {
    const product = products.get(productId) ?? { running: 0, woken: 0, waiting: [] };
    products.set(productId, product);
    for (;;) {
      const { running, lockedUntil } = product;
      if (lockedUntil !== undefined && (running > 0 || now() < lockedUntil)) {
        throw new ProductLockedError([productId]);
      }
      if (running < attemptsAtOnce) break;
      await waitForRoom(product, signal);
    }
    product.running += 1;
  };

  const leave = (productId: string, outcome: Outcome): void => {
    const product = products.get(productId)!;
    product.running -= 1;
    if (outcome === 'free') delete product.lockedUntil;
    if (outcome === 'locked') product.lockedUntil = now() + pauseMs;
    // Those that wait for a product that is locked are told at once.
    wakeUp(product, product.lockedUntil === undefined ? 1 : Infinity);
    const isIdle = product.running === 0 && product.woken === 0;
    if (isIdle && product.lockedUntil === undefined) products.delete(productId);
  };

  /** Of products whose lock was not to be had, or that of one of them. */
  const whichAreLocked = async (productIds: readonly string[]): Promise<readonly string[]> => {
    if (productIds.length === 1) return productIds;
    try {
      return await findLocked(productIds);
    } catch {
      // Then it may be their table. Whichever is free is found so by the next attempt at it.
      return productIds;
    }
  };

  return {
    async attempt(productIds, work, signal) {
      // In the order of the locks themselves, so that no two wait for each other.
      const distinct = [...new Set(productIds)].sort();
      const entered: string[] = [];
      let outcomeOf: (productId: string) => Outcome = () => 'unknown';
      try {
        for (const productId of distinct) {
          await enter(productId, signal);
          entered.push(productId);
        }
        const result = await work();
        outcomeOf = () => 'free';
        return result;
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
        const locked = await whichAreLocked(distinct);
        outcomeOf = (productId) => (locked.includes(productId) ? 'locked' : 'free');
        throw new ProductLockedError(locked.length > 0 ? locked : distinct, { cause: error });
      } finally {
        for (const productId of entered) leave(productId, outcomeOf(productId));
      }
    },
  };
}

type Outcome = 'free' | 'locked' | 'unknown';

function wakeUp(product: Product, atMost: number): void {
  const woken = product.waiting.splice(0, atMost);
  product.woken += woken.length;
  for (const wake of woken) wake();
}

/** @throws the signal's reason; whose turn it would have been goes on instead */
async function waitForRoom(product: Product, signal?: AbortSignal): Promise<void> {
  let wake = (): void => undefined;
  const woken = new Promise<void>((resolve) => {
    wake = resolve;
    product.waiting.push(wake);
  });
  try {
    await (signal === undefined ? woken : orAborted(woken, signal));
    product.woken -= 1;
  } catch (error) {
    const position = product.waiting.indexOf(wake);
    if (position >= 0) {
      product.waiting.splice(position, 1);
    } else {
      product.woken -= 1;
      wakeUp(product, 1);
    }
    throw error;
  }
}

// SQLSTATE lock_not_available, of lock_timeout.
function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '55P03';
}

/** The products that an attempt of an activity changes; none where its input does not say so. */
function productsOf(activityType: string, args: readonly unknown[]): readonly string[] {
  switch (activityType) {
    case 'reserveStock': {
      const request = args[1] as OrderRequest | undefined;
      return request?.items.map(({ productId }) => productId) ?? [];
    }
    case 'changeStock':
    case 'setLike':
      return [(args[0] as AdjustStock | ChangeLike).productId];
    default:
      return [];
  }
}

/**
 * Bounds the attempts at each product. A local attempt at one that is locked is the last: the workflow takes the
 * ordinary activity, whose retries wait in Temporal.
 */
export function boundingProductLocks(locks: ProductLocks): ActivityInterceptorsFactory {
  return ({ info: { isLocal, activityType }, cancellationSignal }) => ({
    inbound: {
      async execute(input, next) {
        const productIds = productsOf(activityType, input.args);
        if (productIds.length === 0) return next(input);
        try {
          return await locks.attempt(productIds, () => next(input), cancellationSignal);
        } catch (error) {
          if (!(isLocal && error instanceof ProductLockedError)) throw error;
          throw ApplicationFailure.nonRetryable(error.message, error.code);
        }
      },
    },
  });
}
