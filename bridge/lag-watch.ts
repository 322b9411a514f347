/**
 * Publishes the consumer lag and stalled partitions as metrics, also while this bridge has no
 * partitions.
 */
import { performance } from 'node:perf_hooks';
import type { GroupProgress, PartitionLag, UnreadableTopic } from '../platform/kafka/consumer-lag';
import type { Logger } from '../platform/observability/logger';
import { pause, withTimeout } from '../platform/process/waiting';
import {
  consumerLag,
  consumerStalled,
  oldestUncommittedAge,
  partitionHeldBack,
} from '../platform/observability/telemetry';
import { createStandstillWatch, type StandstillWatch } from './standstill';

export interface LagWatchOptions {
  /** Poll interval, in ms. */
  readonly intervalMs?: number;
  readonly pollTimeoutMs?: number;
  /** Whether an operator holds a partition, which then does not count as stalled. */
  readonly isHeld?: (partition: PartitionLag) => boolean;
}

/** A running watch. */
export interface LagWatch {
  /** Stops polling, without waiting for a poll in progress. */
  stop(): Promise<void>;
}

/**
 * Starts updating the lag metrics of each partition. An unreadable partition has no value: a stale one
 * would look current.
 *
 * @param read reads the group's position; may throw
 */
export function watchLag(
  read: () => Promise<GroupProgress>,
  logger: Logger,
  { intervalMs = 5_000, pollTimeoutMs = 10_000, isHeld = () => false }: LagWatchOptions = {},
): LagWatch {
  const stopping = new AbortController();
  const { signal } = stopping;
  const context = { logger, signal, isHeld, standstill: createStandstillWatch() };
  // Otherwise a hanging broker would leave stale values in the metrics.
  const message = `timed out after ${pollTimeoutMs} ms`;
  const readInTime = () => withTimeout(read(), pollTimeoutMs, { message, signal });
  const pollOnce = () => poll(readInTime, context);
  const running = pollAtIntervals(signal, pollOnce, intervalMs);
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function pollAtIntervals(
  stop: AbortSignal,
  pollOnce: () => Promise<void>,
  intervalMs: number,
): Promise<void> {
  while (!stop.aborted) {
    await pollOnce();
    await pause(intervalMs, stop);
  }
}

interface PollContext {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly isHeld: (partition: PartitionLag) => boolean;
  readonly standstill: StandstillWatch;
}

async function poll(
  read: () => Promise<GroupProgress>,
  { logger, signal, isHeld, standstill }: PollContext,
): Promise<void> {
  try {
    const progress = await read();
    const free = progress.partitions.filter((partition) => !isHeld(partition));
    standstill.observe(free, performance.now());
    show(progress, standstill);
    progress.unreadable.forEach((topic) => logUnreadable(topic, logger));
  } catch (error) {
    if (signal.aborted) return;
    standstill.forget();
    resetAll();
    logger.warn({ err: error }, 'cannot read the consumer lag; retrying later');
  }
}

function show({ partitions }: GroupProgress, standstill: StandstillWatch): void {
  resetAll();
  for (const { topic, partition, lag, heldBackBy, oldestUncommittedAt } of partitions) {
    const of = { topic, partition };
    const age = oldestUncommittedAt === undefined ? 0 : Date.now() - oldestUncommittedAt;
    consumerLag.set(of, lag);
    // The producer's clock may be ahead of ours.
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

// Only debug: the topic watch warns of it.
function logUnreadable({ topic, error }: UnreadableTopic, logger: Logger): void {
  logger.debug({ err: error, topic }, 'cannot read a topic; the other topics are unaffected');
}
