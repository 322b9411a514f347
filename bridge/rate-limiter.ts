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

/** @param perSecond the bound now; undefined for none */
export function createRateLimiter(perSecond: () => number | undefined): RateLimiter {
  const throttled = createPause('throttled');
  let bound: number | undefined;
  let freeAt = 0;
  return {
    sliceSize(most) {
      const now = perSecond();
      return now === undefined ? most : Math.max(Math.min(most, Math.floor(now)), 1);
    },
    async take(messages, signal) {
      const now = perSecond();
      // What was reserved under another bound is not taken: see below.
      if (now !== bound) freeAt = 0;
      bound = now;
      if (now === undefined) return true;
      const at = Math.max(freeAt, performance.now());
      freeAt = at + (messages / now) * 1_000;
      return throttled.during(async () => {
        for (let waitMs = at - performance.now(); waitMs > 0; waitMs = at - performance.now()) {
          await pause(Math.min(waitMs, noticeMs), signal);
          if (signal.aborted) throw signal.reason;
          if (perSecond() !== now) return false;
        }
        return true;
      });
    },
  };
}
