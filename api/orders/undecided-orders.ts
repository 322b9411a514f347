/**
 * The bound on a user's undecided orders, `API_MAX_ORDERS_PER_USER`: those that the database has, those that
 * this process is placing, and those that it has answered with 202 and that are not stored yet. Off unless
 * it is set.
 */
import { Problem } from '../http/problem';
import type { OrderReads } from './reads';

/** Holds users to the bound. */
export interface OrderBound {
  /**
   * Places an order, unless its user has as many undecided ones as may be. An order that exists, decided or
   * not, is never refused: what is asked for is its answer.
   *
   * @param place resolves with the kind `undecided` when the order goes on after the answer
   * @throws Problem 429; nothing was started
   */
  within<T extends { readonly kind: string }>(
    userId: string,
    orderId: string,
    place: () => Promise<T>,
  ): Promise<T>;
}

/** Where the bound looks orders up. */
export interface KnownOrders extends Pick<OrderReads, 'findUndecided' | 'findAnswered'> {
  /** The running workflow of an order that may not be in the database yet. */
  findRunningOrder(orderId: string): Promise<object | undefined>;
}

/**
 * How long an order that was answered with 202 counts without being seen in the database, in ms: after its
 * timeout it is cancelled as soon as it is stored.
 */
const unstoredForMs = 5 * 60_000;

/** @param most orders of one user; undefined for no bound, which costs nothing */
export function createOrderBound(orders: KnownOrders, most: number | undefined): OrderBound {
  if (most === undefined) return { within: (_userId, _orderId, place) => place() };
  const placing = createPlacing();
  const unstored = createUnstored();

  const isFree = async (
    userId: string,
    orderId: string,
    beingPlaced: ReadonlySet<string>,
  ): Promise<boolean> => {
    const stored = await orders.findUndecided(userId);
    unstored.drop(userId, stored);
    const awaited = unstored.of(userId);
    if (stored.includes(orderId) || awaited.includes(orderId)) return true;
    if (new Set([...beingPlaced, ...stored, ...awaited]).size < most) return true;
    // Only at the bound, what costs another look.
    const answered = await orders.findAnswered([orderId, ...awaited]);
    unstored.drop(userId, answered);
    if (answered.includes(orderId)) return true;
    if (new Set([...beingPlaced, ...stored, ...unstored.of(userId)]).size < most) return true;
    return (await orders.findRunningOrder(orderId)) !== undefined;
  };

  return {
    within: (userId, orderId, place) =>
      placing.during(userId, orderId, async (beingPlaced) => {
        if (!(await isFree(userId, orderId, beingPlaced))) throw tooMany(most);
        const outcome = await place();
        if (outcome.kind === 'undecided') unstored.add(userId, orderId);
        else unstored.drop(userId, [orderId]);
        return outcome;
      }),
  };
}

function tooMany(most: number): Problem {
  return new Problem('TOO_MANY_ORDERS', {
    detail: `At most ${most} orders of a user may be undecided at once; nothing was ordered.`,
    headers: { 'retry-after': '1' },
  });
}

/** The orders that were answered with 202 and were not seen in the database since, by user. */
function createUnstored() {
  const byUser = new Map<string, Map<string, NodeJS.Timeout>>();
  const drop = (userId: string, orderIds: readonly string[]): void => {
    const own = byUser.get(userId);
    if (own === undefined) return;
    for (const orderId of orderIds) {
      clearTimeout(own.get(orderId));
      own.delete(orderId);
    }
    if (own.size === 0) byUser.delete(userId);
  };
  return {
    drop,
    of: (userId: string): string[] => [...(byUser.get(userId)?.keys() ?? [])],
    add(userId: string, orderId: string): void {
      drop(userId, [orderId]);
      const own = byUser.get(userId) ?? new Map<string, NodeJS.Timeout>();
      byUser.set(userId, own);
      const timer = setTimeout(() => drop(userId, [orderId]), unstoredForMs);
      own.set(orderId, timer.unref());
    },
  };
}

/** The orders that this process is placing, by user. */
function createPlacing() {
  const byUser = new Map<string, Set<string>>();
  return {
    /** @param work is told of the user's other orders that were there before */
    async during<T>(
      userId: string,
      orderId: string,
      work: (before: ReadonlySet<string>) => Promise<T>,
    ): Promise<T> {
      const own = byUser.get(userId) ?? new Set<string>();
      const before = new Set(own);
      before.delete(orderId);
      byUser.set(userId, own.add(orderId));
      try {
        return await work(before);
      } finally {
        own.delete(orderId);
        if (own.size === 0) byUser.delete(userId);
      }
    },
  };
}
