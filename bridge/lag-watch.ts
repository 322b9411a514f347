/**
 * Shows how far the consumer group is behind and what of it stands still, also while this bridge gets
 * nothing to read.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLinkedSignal } from '../platform/process/abort';
import type { GroupProgress, UnreadableTopic } from '../platform/kafka/consumer-lag';
import type { Logger } from '../platform/observability/logger';
import {
  consumerLag,
  consumerStalled,
  oldestUncommittedAge,
  partitionHeldBack,
} from '../platform/observability/telemetry';
import { createStandstillWatch, type StandstillWatch } from './standstill';

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
 * Keeps in the metrics, from now on, how far each partition is behind and whether it stands still. Of
 * what cannot be read there is no figure: an old one would look like a true one.
 *
 * @param read where the group stands; it may throw
 */
export function watchLag(
  read: () => Promise<GroupProgress>,
  logger: Logger,
  { intervalMs = 5_000, lookTimeoutMs = 10_000 }: LagWatchOptions = {},
): LagWatch {
  const stopping = new AbortController();
  const { signal } = stopping;
  const context = { logger, signal, standstill: createStandstillWatch() };
  const lookInTime = () => look(() => withinTime(read, lookTimeoutMs, signal), context);
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

interface LookContext {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly standstill: StandstillWatch;
}

async function look(
  read: () => Promise<GroupProgress>,
  { logger, signal, standstill }: LookContext,
): Promise<void> {
  try {
    const progress = await read();
    standstill.observe(progress.partitions, performance.now());
    show(progress, standstill);
    progress.unreadable.forEach((topic) => tellOf(topic, logger));
  } catch (error) {
    if (signal.aborted) return;
    standstill.forget();
    resetAll();
    logger.warn({ err: error }, 'cannot see how far the group is behind; looking again later');
  }
}

function show({ partitions }: GroupProgress, standstill: StandstillWatch): void {
  resetAll();
  for (const { topic, partition, lag, heldBackBy, oldestUncommittedAt } of partitions) {
    const of = { topic, partition };
    const age = oldestUncommittedAt === undefined ? 0 : Date.now() - oldestUncommittedAt;
    consumerLag.set(of, lag);
    // The producer's clock may go ahead of ours.
    oldestUncommittedAge.set(of, Math.max(age, 0) / 1_000);
    partitionHeldBack.set(of, heldBackBy === undefined ? 0 : 1);
    consumerStalled.set(of, 0);
  }
  for (const { topic, partition, forMs } of standstill.stalled()) {
    consumerStalled.set({ topic, partition }, forMs / 1_000);
  }
}

function resetAll(): void {
  for (const gauge of [consumerLag, consumerStalled, oldestUncommittedAge, partitionHeldBack]) {
    gauge.reset();
  }
}

// The watch over the topics warns of it.
function tellOf({ topic, error }: UnreadableTopic, logger: Logger): void {
  logger.debug({ err: error, topic }, 'a topic cannot be read; the others are');
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
