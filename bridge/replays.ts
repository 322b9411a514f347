/**
 * Reads ranges of messages again that are asked for in `collector.replays`, beside the consumer group, whose
 * offsets do not move. Any bridge may do it: no effect depends on order, and what was handled before changes
 * nothing. What an operator holds is not begun, and what is under way goes on.
 */
import type { KafkaClient } from '../platform/kafka/client';
import { readPartitionLogs, readRange, type PartitionLog } from '../platform/kafka/partition-log';
import type { LogRecord, UnreadableOffsets } from '../platform/kafka/record-batch';
import type { Logger } from '../platform/observability/logger';
import type { Queryable } from '../platform/postgres/pool';
import { pause } from '../platform/process/waiting';
import { isReplayHeld } from './consumption-holds';
import type { Dispatcher } from './dispatcher';

export interface ReplayDependencies {
  readonly kafka: KafkaClient;
  /** With the right to update `collector.replays`. */
  readonly database: Queryable;
  readonly dispatcher: Dispatcher;
  readonly logger: Logger;
}

export interface ReplayOptions {
  /** How often to look for a replay, in ms. */
  readonly intervalMs?: number;
}

/** Replays what is asked for until it is stopped. */
export interface Replays {
  /** Gives up the replay under way: another bridge, or this one after a restart, goes on with it. */
  stop(): Promise<void>;
}

export function startReplays(
  dependencies: ReplayDependencies,
  { intervalMs = 5_000 }: ReplayOptions = {},
): Replays {
  const stopping = new AbortController();
  const running = replayUntil(stopping.signal, dependencies, intervalMs);
  return {
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

async function replayUntil(
  signal: AbortSignal,
  dependencies: ReplayDependencies,
  intervalMs: number,
): Promise<void> {
  while (!signal.aborted) {
    if (!(await replayNext(signal, dependencies))) await pause(intervalMs, signal);
  }
}

/** @returns whether a replay was finished, so that another may wait */
async function replayNext(signal: AbortSignal, dependencies: ReplayDependencies): Promise<boolean> {
  try {
    const replay = await claim(dependencies.database);
    if (replay === undefined) return false;
    await replayRange(signal, dependencies, replay);
    return true;
  } catch (error) {
    if (!signal.aborted) {
      dependencies.logger.warn({ err: error }, 'cannot replay messages; retrying later');
    }
    return false;
  }
}

interface Replay {
  readonly id: number;
  readonly topic: string;
  readonly partition: number;
  /** The next offset. */
  readonly from: number;
  /** The last offset. */
  readonly last: number;
}

/** Longer than a slice waits for its slots. A bridge that dies leaves its replay for that long. */
const leaseSeconds = 60;

// The one that has waited longest: one that cannot be replayed now must not keep the others waiting.
async function claim(database: Queryable): Promise<Replay | undefined> {
  const { rows } = await database.query<Replay>({
    text: `
      UPDATE collector.replays SET leased_until = now() + make_interval(secs => $1)
      WHERE id = (
        SELECT id FROM collector.replays
        WHERE finished_at IS NULL AND leased_until <= now() AND NOT ${isReplayHeld}
        ORDER BY leased_until, id LIMIT 1 FOR UPDATE SKIP LOCKED)
      RETURNING id, topic, partition, next_offset AS from, last_offset AS last`,
    values: [leaseSeconds],
  });
  return rows[0];
}

async function replayRange(
  signal: AbortSignal,
  { kafka, database, dispatcher, logger }: ReplayDependencies,
  { id, topic, partition, from, last }: Replay,
): Promise<void> {
  const place = { topic, partition };
  const { start, end } = await readLog(kafka, place);
  if (start > from) {
    const to = Math.min(start - 1, last);
    await dispatcher.recordVanished({ ...place, from, to, reason: 'RETENTION' }, signal);
  }
  if (end <= last) {
    const gone = { from: Math.max(from, end), to: last, reason: 'TOPIC_MADE_ANEW' } as const;
    await dispatcher.recordVanished({ ...place, ...gone }, signal);
  }
  let messages = 0;
  await readRange(kafka, { ...place, from, to: Math.min(last + 1, end) }, async (entries) => {
    for (const slice of slicesOf(entries, dispatcher.sliceSize)) {
      await dispatcher.dispatch(
        slice.map((entry) => ({ ...place, entry })),
        signal,
      );
      await noteProgress(database, id, lastOffsetOf(slice.at(-1)!) + 1);
      messages += slice.length;
    }
  });
  await database.query('UPDATE collector.replays SET finished_at = now() WHERE id = $1', [id]);
  logger.info({ ...place, from, to: last, messages }, 'messages replayed');
}

async function readLog(
  kafka: KafkaClient,
  place: { readonly topic: string; readonly partition: number },
): Promise<PartitionLog> {
  const [log] = await readPartitionLogs(kafka, [{ ...place, offset: null }]);
  if ('error' in log!) throw log.error;
  return log!;
}

async function noteProgress(database: Queryable, id: number, nextOffset: number): Promise<void> {
  await database.query(
    `UPDATE collector.replays
     SET next_offset = $2, leased_until = now() + make_interval(secs => $3) WHERE id = $1`,
    [id, nextOffset, leaseSeconds],
  );
}

type Entry = LogRecord | UnreadableOffsets;

function slicesOf(entries: readonly Entry[], size: number): Entry[][] {
  const slices: Entry[][] = [];
  for (let start = 0; start < entries.length; start += size) {
    slices.push(entries.slice(start, start + size));
  }
  return slices;
}

function lastOffsetOf(entry: Entry): number {
  return entry.kind === 'unreadable' ? entry.lastOffset : entry.offset;
}
