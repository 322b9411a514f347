/** Bounds how many messages a bridge takes in a second, over all of its partitions. */
import { performance } from 'node:perf_hooks';
import { pause } from '../platform/process/waiting';
import { createPause } from './pause';

/** A bound on the rate of messages. */
export interface RateLimiter {
  /**
   * The most messages of a slice: what may be taken in a second, so that each partition soon has its turn
   * and its commit.
   *
   * @param most without a bound
   */
  sliceSize(most: number): number;
  /**
   * Waits until so many messages may be taken.
   *
   * @returns false when the bound has changed meanwhile: the slice may be too large now, and is not to be taken
   * @throws when aborted
   */
  take(messages: number, signal: AbortSignal): Promise<boolean>;
}

/** How soon a changed bound is noticed by who waits, in ms. */
const noticeMs = 100;
/** How long who is not first waits at least, and how late a timer may be without a loss of rate, in ms. */
const shortestWaitMs = 5;

/** @param perSecond the bound now; undefined for none */
export function createRateLimiter(perSecond: () => number | undefined): RateLimiter {
  const throttled = createPause('throttled');
  let bound: number | undefined;
  let freeAt = 0;
  const queue: object[] = [];
  return {
    sliceSize(most) {
      const now = perSecond();
      return now === undefined ? most : Math.max(Math.min(most, Math.floor(now)), 1);
    },
    async take(messages, signal) {
      const now = perSecond();
      if (now !== bound) freeAt = 0;
      bound = now;
      if (now === undefined) return true;
      // Time is claimed when it has come: whoever gives up before leaves none behind.
      const turn = {};
      queue.push(turn);
      try {
        return await throttled.during(async () => {
          while (queue[0] !== turn || performance.now() < freeAt) {
            const waitMs = Math.max(freeAt - performance.now(), shortestWaitMs);
            await pause(Math.min(waitMs, noticeMs), signal);
            if (signal.aborted) throw signal.reason;
            if (perSecond() !== now) return false;
          }
          const at = performance.now();
          freeAt = (at - freeAt <= shortestWaitMs ? freeAt : at) + (messages / now) * 1_000;
          return true;
        });
      } finally {
        queue.splice(queue.indexOf(turn), 1);
      }
    },
  };
}
