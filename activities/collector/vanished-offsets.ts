/**
 * Offsets that vanish before they are read: retention overtook the group, or the log was truncated or
 * recreated. They cannot be recovered; they are detected, counted and recorded. The delivery audit
 * publishes the shop's own events among them again.
 */
import { log } from '@temporalio/activity';
import type { Pool } from 'pg';
import type { VanishedOffsets } from '../../events/received';
import { eventTopics } from '../../events/topics';
import type { KafkaClient } from '../../platform/kafka/client';
import { readGroupProgress } from '../../platform/kafka/consumer-lag';
import { afterCommit, inTransaction, type Queryable } from '../../platform/postgres/pool';
import { vanishedOffsets } from '../../platform/observability/telemetry';

/** Dependencies of the detection. */
export interface VanishedOffsetsDependencies {
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  /** The bridge's consumer group. */
  readonly groupId: string;
}

/** Positions of a group and a log at the last audit. */
export interface SeenProgress {
  /** Null when the group had committed nothing. */
  readonly committed: number | null;
  readonly start: number;
  readonly end: number;
}

/** Activities of the detection. */
export function createVanishedOffsetsActivities({
  pool,
  kafka,
  groupId,
}: VanishedOffsetsDependencies) {
  // Initialised to zero: an alert on an increase needs the zero before it.
  for (const topic of eventTopics) {
    for (const reason of reasons) vanishedOffsets.inc({ topic, reason }, 0);
  }
  return {
    /**
     * Records a range. Overlapping reports within the hour are one incident and one row; only new
     * offsets are counted.
     */
    async recordVanished(range: VanishedOffsets): Promise<void> {
      await inTransaction(pool, async (connection) => {
        await lockPartition(connection, range);
        await record(connection, range);
      });
    },

    /**
     * Compares the positions of the group and each log with the last audit, and records what vanished
     * unread since. An unreadable topic is compared next time.
     *
     * @returns how many ranges it has detected
     */
    async noteProgress(): Promise<number> {
      const { partitions } = await readGroupProgress(kafka, groupId, eventTopics);
      let noticed = 0;
      for (const partition of partitions) {
        await inTransaction(pool, async (connection) => {
          await lockPartition(connection, partition);
          const vanished = findVanished(await readSeen(connection, partition), partition);
          await keepSeen(connection, partition);
          if (vanished === undefined) return;
          noticed += 1;
          const { topic, partition: number } = partition;
          await record(connection, { topic, partition: number, ...vanished });
        });
      }
      return noticed;
    },
  };
}

const reasons: readonly VanishedOffsets['reason'][] = ['RETENTION', 'TOPIC_MADE_ANEW'];

/**
 * What vanished unread between two observations of a partition, as far as they show it. Pure.
 *
 * @param seen the previous observation; undefined when there was none
 */
export function findVanished(
  seen: SeenProgress | undefined,
  now: SeenProgress,
): Pick<VanishedOffsets, 'from' | 'to' | 'reason'> | undefined {
  if (seen !== undefined && now.end < seen.end) return findCut(seen, now);
  if (seen === undefined && now.committed !== null && now.committed > now.end) {
    return { from: now.committed, reason: 'TOPIC_MADE_ANEW' };
  }
  const unread = now.committed ?? seen?.committed ?? seen?.start;
  if (unread === undefined) return undefined;
  // What was before the start then was reported then.
  const from = Math.max(unread, seen?.start ?? unread);
  return from < now.start ? { from, to: now.start - 1, reason: 'RETENTION' } : undefined;
}

function findCut(
  seen: SeenProgress,
  { committed, end }: SeenProgress,
): ReturnType<typeof findVanished> {
  const to = seen.end - 1;
  // Deleting a topic deletes the committed offsets, too. Otherwise the log was only truncated.
  if (committed === null || committed < (seen.committed ?? 0)) {
    const from = seen.committed ?? seen.start;
    // All that was observed had been read; what came after the observation is unknown.
    return { from, ...(from <= to ? { to } : {}), reason: 'TOPIC_MADE_ANEW' };
  }
  const from = Math.max(committed, end);
  return from <= to ? { from, to, reason: 'TOPIC_MADE_ANEW' } : undefined;
}

interface Place {
  readonly topic: string;
  readonly partition: number;
}

// Serialises concurrent detections, which would each insert a row.
async function lockPartition(connection: Queryable, { topic, partition }: Place): Promise<void> {
  await connection.query({
    name: 'vanished-lock',
    text: `SELECT pg_advisory_xact_lock(hashtextextended('vanished/' || $1 || '/' || $2, 0))`,
    values: [topic, String(partition)],
  });
}

async function readSeen(
  connection: Queryable,
  { topic, partition }: Place,
): Promise<SeenProgress | undefined> {
  const { rows } = await connection.query<SeenProgress>({
    name: 'progress-seen',
    text: `
      SELECT committed, log_start AS start, log_end AS end
      FROM collector.partition_progress WHERE topic = $1 AND partition = $2`,
    values: [topic, partition],
  });
  return rows[0];
}

// A log that ends before where it was seen to end is another one: all of it is to be accounted for.
const wasCut = 'excluded.log_end < partition_progress.log_end';

async function keepSeen(
  connection: Queryable,
  { topic, partition, committed, start, end }: Place & SeenProgress,
): Promise<void> {
  await connection.query({
    name: 'progress-keep',
    text: `
      INSERT INTO collector.partition_progress (topic, partition, committed, log_start, log_end)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (topic, partition) DO UPDATE
      SET committed = excluded.committed, log_start = excluded.log_start,
        log_end = excluded.log_end, seen_at = now(),
        anew_at = CASE WHEN ${wasCut} THEN now() ELSE partition_progress.anew_at END,
        accounted = CASE WHEN ${wasCut} THEN excluded.log_start ELSE partition_progress.accounted END,
        due = CASE WHEN ${wasCut} THEN NULL ELSE partition_progress.due END,
        due_at = CASE WHEN ${wasCut} THEN NULL ELSE partition_progress.due_at END`,
    values: [topic, partition, committed, start, end],
  });
}

// Adjacent or overlapping ranges detected within the hour are merged: their rows are replaced by the
// union. A range without an end counts as its first offset; the union keeps a known end.
const recordStatement = `
  WITH touching AS (
    DELETE FROM collector.vanished_offsets
    WHERE topic = $1 AND partition = $2 AND noticed_at > now() - interval '1 hour'
      AND first_offset <= coalesce($4::bigint, $3::bigint) + 1 AND coalesce(last_offset, first_offset) >= $3::bigint - 1
    RETURNING *
  ), earlier AS (
    SELECT coalesce(sum(coalesce(last_offset, first_offset) - first_offset + 1), 0) AS offsets,
      min(first_offset) AS first_offset, max(last_offset) AS last_offset,
      (array_agg(reason ORDER BY noticed_at))[1] AS reason, min(noticed_at) AS noticed_at
    FROM touching
  ), kept AS (
    INSERT INTO collector.vanished_offsets
      (topic, partition, first_offset, last_offset, reason, noticed_at)
    SELECT $1, $2, least(first_offset, $3::bigint), greatest(last_offset, $4::bigint), coalesce(reason, $5),
      coalesce(noticed_at, now())
    FROM earlier
    RETURNING coalesce(last_offset, first_offset) - first_offset + 1 AS offsets
  )
  SELECT (kept.offsets - earlier.offsets)::float8 AS added FROM kept, earlier`;

async function record(
  connection: Parameters<typeof afterCommit>[0],
  { topic, partition, from, to, reason }: VanishedOffsets,
): Promise<void> {
  const { rows } = await connection.query<{ added: number }>({
    name: 'vanished-record',
    text: recordStatement,
    values: [topic, partition, from, to ?? null, reason],
  });
  const { added } = rows[0]!;
  if (added <= 0) return;
  afterCommit(connection, () => {
    vanishedOffsets.inc({ topic, reason }, added);
    log.warn('offsets vanished before they were read', {
      topic,
      partition,
      from,
      to,
      reason,
    });
  });
}
