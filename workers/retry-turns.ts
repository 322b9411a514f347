/**
 * Turns at retrying. What waits for PostgreSQL, or for a product's row that another transaction keeps locked,
 * is retried by Temporal for each workflow on its own, every ten seconds: with thousands that wait, that would
 * be the greatest load of all. In turns, their retries come at a rate that stays the same, first come first
 * served. So there is always one about to find out that the wait is over, and all others go on behind it.
 */
import { ApplicationFailure, CancelledFailure, type RetryPolicy } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import { isRetryable } from './outage';
import { ProductLockedError } from './product-locks';

/** Options of the turns. */
export interface RetryTurnsOptions {
  /** Retries per second, of one process, of what waits for one product; of all together twice as many. */
  readonly perSecond?: number;
  /** Longest wait for a turn, in ms. With more that wait than it has turns, the rate grows after all. */
  readonly longestMs?: number;
  /** The current time, in ms. */
  readonly now?: () => number;
}

/**
 * Has attempts that failed wait for a turn, where their retry policy would have them back before that. With few
 * that wait nothing changes.
 */
export function takingTurns({
  perSecond = 20,
  longestMs = 600_000,
  now = Date.now,
}: RetryTurnsOptions = {}): ActivityInterceptorsFactory {
  const turnsOfAll = createTurns(perSecond * 2, longestMs);
  // Of their own, so that one locked product holds up no other, nor what waits for PostgreSQL.
  const turnsOfProducts = new Map<string, Turns>();

  const turnsAt = (productId: string): Turns => {
    for (const [other, turns] of turnsOfProducts) {
      if (turns.lastAt < now()) turnsOfProducts.delete(other);
    }
    const turns = turnsOfProducts.get(productId) ?? createTurns(perSecond, longestMs);
    turnsOfProducts.set(productId, turns);
    return turns;
  };

  const untilTurnMs = (error: unknown): number => {
    const productIds = error instanceof ProductLockedError ? error.productIds : [];
    const turns = productIds.map(turnsAt);
    const isOfAll = turns.length === 0 || turnsOfProducts.size > rowsOfTable;
    if (isOfAll) turns.push(turnsOfAll);
    const at = now();
    return Math.max(...turns.map((each) => each.take(at))) - at;
  };

  return ({ info: { attempt, retryPolicy } }) => ({
    inbound: {
      async execute(input, next) {
        try {
          const result = await next(input);
          turnsOfAll.over();
          return result;
        } catch (error) {
          if (error instanceof CancelledFailure || !isRetryable(error)) throw error;
          const nextRetryDelay = untilTurnMs(error);
          if (nextRetryDelay <= backoffMs(attempt, retryPolicy)) throw error;
          throw ApplicationFailure.fromError(error, { nextRetryDelay });
        }
      },
    },
  });
}

// With more products locked than this, it may be their table: then all take turns together, too.
const rowsOfTable = 8;

interface Turns {
  /** When the last one is that was taken, in ms. */
  readonly lastAt: number;
  /** Takes the next one. @returns when it is, in ms */
  take(now: number): number;
  /** Nobody has to wait any more. */
  over(): void;
}

function createTurns(perSecond: number, longestMs: number): Turns {
  const turns = {
    lastAt: 0,
    take(now: number): number {
      const next = Math.max(now, turns.lastAt + 1_000 / perSecond);
      turns.lastAt = Math.min(next, now + longestMs);
      return turns.lastAt;
    },
    over: () => void (turns.lastAt = 0),
  };
  return turns;
}

/** The wait that a retry policy has after an attempt, in ms; a worker is given its intervals in ms, too. */
function backoffMs(attempt: number, policy: RetryPolicy = {}): number {
  const first = Number(policy.initialInterval ?? 1_000);
  const grown = first * (policy.backoffCoefficient ?? 2) ** (attempt - 1);
  return Math.min(grown, Number(policy.maximumInterval ?? Infinity));
}
