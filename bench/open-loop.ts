/**
 * An open-loop load: events are due at fixed times, and are sent when they are due, whether or not
 * anything before them has been answered. A side that is slow slows no sender down, so no wait is
 * left out of its times (coordinated omission).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile } from './suite';

/** What to send. */
export interface Load {
  readonly perSecond: number;
  readonly count: number;
}

/** What has been sent, and acknowledged since. */
export interface SentLoad {
  /** When the first event was due, in ms since 1970. */
  readonly from: number;
  /** When the one after the last would be due. */
  readonly to: number;
  /** How long after they were due the events were sent, in ms. */
  readonly delayMs: { readonly p95: number; readonly p99: number };
}

/** The sender itself was too slow: what was measured says nothing about the side. */
export class LoadNotKeptError extends Error {
  override readonly name = 'LoadNotKeptError';
  readonly code = 'BENCH_LOAD_NOT_KEPT';
}

// What is due within it is sent together, as a producer with such a linger does.
const tickMs = 5;

/** A delay is part of an event's time, which counts from when it was due: beyond this, most of it. */
const longestDelayMs = 100;

/**
 * Sends at a steady rate, and waits until all of it is acknowledged.
 *
 * @param send sends an event for each of the times at which they were due, in ms since 1970
 * @throws what `send` throws
 */
export async function sendAtRate(
  { perSecond, count }: Load,
  send: (dueTimes: readonly number[]) => Promise<unknown>,
): Promise<SentLoad> {
  const from = Date.now();
  const dueAt = (index: number): number => from + (index * 1_000) / perSecond;
  const delays: number[] = [];
  const sends: Promise<unknown>[] = [];
  while (delays.length < count) {
    await sleep(Math.max(tickMs, dueAt(delays.length) - Date.now()));
    const due: number[] = [];
    for (const now = Date.now(); delays.length < count;) {
      const time = dueAt(delays.length);
      if (time > now) break;
      due.push(time);
      delays.push(now - time);
    }
    if (due.length === 0) continue;
    const sent = send(due);
    // Its failure is thrown below, and must not be one that nobody handles until then.
    sent.catch(() => undefined);
    sends.push(sent);
  }
  await Promise.all(sends);
  const delayMs = { p95: percentile(delays, 95), p99: percentile(delays, 99) };
  return { from, to: dueAt(count), delayMs };
}

/** @throws LoadNotKeptError when more than 5 of 100 events were sent too late */
export function assertKept({ delayMs }: Pick<SentLoad, 'delayMs'>, perSecond: number): void {
  if (delayMs.p95 <= longestDelayMs) return;
  throw new LoadNotKeptError(
    `The sender did not keep ${perSecond} events/s: 5 of 100 events left more than ` +
      `${Math.round(delayMs.p95)} ms late. The machine has too little processor time left to measure.`,
  );
}
