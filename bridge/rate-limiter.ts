/** Bounds how many messages a bridge takes in a second, over all of its partitions or over those of a topic. */
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

/** How late a partition may come to the time that it was given, in ms: those that were held come all at once. */
const turnLastsMs = 1_000;
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
    sliceSize: (most) => sliceWithin(perSecond(), most),
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

/** A bound on the rate of a topic, whose partitions are not waited for: others of the same fetch would wait, too. */
interface TopicRateLimiter {
  /** As that of {@link RateLimiter}. */
  sliceSize(most: number): number;
  /**
   * Takes messages of a partition, or sets a time for them, in the order in which partitions ask.
   *
   * @returns 0 when they may be taken; otherwise in how many ms to ask again
   */
  take(partition: number, messages: number): number;
}

/** @param perSecond the bound now; undefined for none */
function createTopicRateLimiter(perSecond: () => number | undefined): TopicRateLimiter {
  let bound: number | undefined;
  let freeAt = 0;
  const turns = new Map<number, { readonly at: number; readonly messages: number }>();
  const spend = (messages: number, from: number): void => {
    freeAt = from + (messages / bound!) * 1_000;
  };
  return {
    sliceSize: (most) => sliceWithin(perSecond(), most),
    take(partition, messages) {
      const now = perSecond();
      if (now !== bound) {
        freeAt = 0;
        turns.clear();
      }
      bound = now;
      if (now === undefined) return 0;
      const at = performance.now();
      const turn = turns.get(partition);
      if (turn !== undefined) {
        if (at < turn.at) return turn.at - at;
        turns.delete(partition);
        if (at - turn.at <= turnLastsMs) {
          // What it was given time for may have been less.
          spend(Math.max(messages - turn.messages, 0), freeAt);
          return 0;
        }
      }
      const from = Math.max(freeAt, at);
      spend(messages, from);
      if (from > at) turns.set(partition, { at: from, messages });
      return from - at;
    },
  };
}

/** The rate limiter of each topic. */
export type TopicRates = (topic: string) => TopicRateLimiter;

/** @param perSecond the bound of a topic now; undefined for none */
export function createTopicRates(perSecond: (topic: string) => number | undefined): TopicRates {
  const limiters = new Map<string, TopicRateLimiter>();
  return (topic) => {
    const limiter = limiters.get(topic) ?? createTopicRateLimiter(() => perSecond(topic));
    limiters.set(topic, limiter);
    return limiter;
  };
}

function sliceWithin(perSecond: number | undefined, most: number): number {
  return perSecond === undefined ? most : Math.max(Math.min(most, Math.floor(perSecond)), 1);
}
