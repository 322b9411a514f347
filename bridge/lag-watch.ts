/** Shows how far the consumer group is behind, also while this bridge gets nothing to read. */
import { setTimeout as sleep } from 'node:timers/promises';
import { withLinkedSignal } from '../platform/abort';
import type { PartitionLag } from '../platform/consumer-lag';
import type { Logger } from '../platform/logger';
import { consumerLag } from '../platform/telemetry';

/** Options of the watch. */
export interface LagWatchOptions {
  /** How long to wait between two looks, in ms. */
  readonly intervalMs?: number;
  /** After how long a look is given up, in ms. */
  readonly lookTimeoutMs?: number;
}

/** A running watch. */
export interface LagWatch {
  /** Ends it; nobody waits for a look that is under way. */
  stop(): Promise<void>;
}

/**
 * Keeps the lag of each partition in the metrics from now on. While it cannot be read, no partition
 * has one: an old figure would look like a true one.
 *
 * @param read where the group stands; it may throw
 */
export function watchLag(
  read: () => Promise<readonly PartitionLag[]>,
  logger: Logger,
  { intervalMs = 10_000, lookTimeoutMs = 10_000 }: LagWatchOptions = {},
): LagWatch {
  const stopping = new AbortController();
  const { signal } = stopping;
  const lookInTime = () => look(() => withinTime(read, lookTimeoutMs, signal), { logger, signal });
  const running = lookUntil(signal, lookInTime, intervalMs);
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function lookUntil(
  stop: AbortSignal,
  lookOnce: () => Promise<void>,
  intervalMs: number,
): Promise<void> {
  while (!stop.aborted) {
    await lookOnce();
    await sleep(intervalMs, undefined, { signal: stop }).catch(() => undefined);
  }
}

async function look(
  read: () => Promise<readonly PartitionLag[]>,
  { logger, signal }: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  try {
    const lags = await read();
    for (const { topic, partition, lag } of lags) consumerLag.set({ topic, partition }, lag);
  } catch (error) {
    if (signal.aborted) return;
    consumerLag.reset();
    logger.warn({ err: error }, 'cannot see how far the group is behind; looking again later');
  }
}

// A broker that hangs would otherwise leave the last figure standing as if it were true.
function withinTime<T>(work: () => Promise<T>, timeoutMs: number, stop: AbortSignal): Promise<T> {
  return withLinkedSignal(stop, async (linked) => {
    const { signal } = linked;
    const timer = setTimeout(
      () => linked.abort(new Error(`nothing came back within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const tooLate = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
    try {
      return await Promise.race([work(), tooLate]);
    } finally {
      clearTimeout(timer);
    }
  });
}
