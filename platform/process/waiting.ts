/**
 * Waiting: a pause, a timeout, backoff between retries, and polling for a condition. Nothing here leaves
 * a timer or a listener behind once it has settled.
 */
import { setTimeout as sleep } from 'node:timers/promises';

/** Resolves after `ms`, or as soon as `signal` is aborted: a caller that has to know asks the signal. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal?.aborted) throw error;
  }
}

/** Work took longer than its timeout. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly code = 'TIMEOUT';
}

/** Options of a timeout. */
export interface TimeoutOptions {
  /** The message of the TimeoutError. */
  readonly message?: string;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
}

/**
 * Settles as `work` does, within `ms`. Late work is not cancelled, and its result or failure is ignored.
 *
 * @throws TimeoutError; the signal's reason once it is aborted
 */
export async function withTimeout<Result>(
  work: Promise<Result>,
  ms: number,
  { message = `no answer within ${ms} ms`, signal }: TimeoutOptions = {},
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(message)), ms);
  });
  const inTime = Promise.race([work, timeout]);
  try {
    return await (signal === undefined ? inTime : orAborted(inTime, signal));
  } finally {
    clearTimeout(timer);
  }
}

/** Settles as `work` does, or resolves with `otherwise` after `ms`. */
export async function resultWithin<Result, Otherwise>(
  work: Promise<Result>,
  ms: number,
  otherwise: Otherwise,
): Promise<Result | Otherwise> {
  const over = new AbortController();
  try {
    return await Promise.race([work, pause(ms, over.signal).then(() => otherwise)]);
  } finally {
    over.abort();
  }
}

/** Settles as `work` does, or rejects with the signal's reason as soon as it is aborted. */
export async function orAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Exponential backoff: the wait before the next retry doubles, up to a bound. */
export interface Backoff {
  /** The next wait, in ms. */
  next(): number;
  /** Starts again from the first wait, after a success. */
  reset(): void;
}

/** The bounds of a backoff, in ms. */
export interface BackoffOptions {
  readonly firstMs: number;
  readonly longestMs: number;
}

export function createBackoff({ firstMs, longestMs }: BackoffOptions): Backoff {
  let nextMs = firstMs;
  return {
    next() {
      const present = nextMs;
      nextMs = Math.min(nextMs * 2, longestMs);
      return present;
    },
    reset() {
      nextMs = firstMs;
    },
  };
}

/** Jitter: a wait between half of `ms` and all of it, so that what failed together is not retried together. */
export function withJitter(ms: number): number {
  return Math.round(ms * (0.5 + Math.random() / 2));
}

/** Options of polling. */
export interface PollOptions {
  readonly timeoutMs: number;
  /** Pause between two polls, in ms. */
  readonly pollMs: number;
  /** Ends the polling early. */
  readonly signal?: AbortSignal;
}

/**
 * Polls until `look` returns something truthy, and returns that; `undefined` on a timeout. Polls at
 * least once.
 *
 * @throws what `look` throws; the signal's reason once it is aborted
 */
export async function pollUntil<Seen>(
  look: () => Seen | Promise<Seen>,
  { timeoutMs, pollMs, signal }: PollOptions,
): Promise<NonNullable<Seen> | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    signal?.throwIfAborted();
    const seen = await look();
    if (seen) return seen;
    if (performance.now() >= deadline) return undefined;
    await pause(pollMs, signal);
  }
}
