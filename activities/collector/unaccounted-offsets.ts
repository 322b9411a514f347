/**
 * Accounts for the messages below the committed offsets: each is logged, a duplicate of a logged event, or
 * parked. One that is none of these was in a workflow whose start Temporal acknowledged and then lost, as in
 * a failover. The bridge is asked to read it again.
 */
import { getClient, log } from '@temporalio/activity';
import { DatabaseError, type Pool } from 'pg';
import { parseMessage } from '../../events/parse';
import type { Coordinates } from '../../events/received';
import type { KafkaClient } from '../../platform/kafka/client';
import { readRange, type OffsetRange } from '../../platform/kafka/partition-log';
import type { LogRecord, UnreadableOffsets } from '../../platform/kafka/record-batch';
import { auditFindings } from '../../platform/observability/telemetry';
import { afterCommit, inTransaction } from '../../platform/postgres/pool';
import { keepAbandoned } from './delivery-audit';

export interface UnaccountedOffsetsDependencies {
  readonly pool: Pool;
  readonly kafka: KafkaClient;
}

export function createUnaccountedOffsetsActivities(dependencies: UnaccountedOffsetsDependencies) {
  const { pool } = dependencies;
  return {
    /**
     * Accounts for the offsets that were committed before `before`, in ms since the epoch, for up to 20
     * seconds and 50,000 of each partition; the next call goes on. What the log has in full is counted
     * there, the rest is read from Kafka and compared. So are the messages of replays that ended before
     * then: that Temporal has acknowledged them again proves as little as the first time.
     *
     * @returns how many messages are to be read again
     * @throws when a partition cannot be read now; the others are accounted for all the same
     */
    async accountForOffsets({ before }: { readonly before: number }): Promise<number> {
      const deadline = Date.now() + budgetMs;
      await beginPeriods(pool);
      const due = await readDue(pool, before);
      const wholes = await findWhole(pool, due);
      const failures: unknown[] = [];
      let lost = 0;
      const each = async (work: () => Promise<number>): Promise<void> => {
        if (Date.now() > deadline) return;
        try {
          lost += await work();
        } catch (error) {
          failures.push(error);
        }
      };
      for (const range of due) {
        const isWhole = wholes.has(range);
        await each(() => accountFor(dependencies, range, { isWhole, deadline }));
      }
      for (const replay of await readEndedReplays(pool, before)) {
        await each(() => confirmReplay(dependencies, replay));
      }
      if (failures.length > 0) throw failures[0];
      return lost;
    },
  };
}

/** Well below the activity's timeout: an attempt that goes on behind it would be in its successor's way. */
const budgetMs = 20_000;
const offsetsPerCall = 50_000;

/** A range that is due. */
interface DueRange extends OffsetRange {
  /**
   * From when on, in ms since the epoch, what is logged may be of this range; null at the first look at a
   * log.
   */
  readonly since: number | null;
}

// A group that was set back reads from there by itself. A log that was made anew has no `due`: see the
// progress that is kept for vanished offsets.
async function beginPeriods(pool: Pool): Promise<void> {
  await pool.query({
    name: 'offsets-begin',
    text: `
      UPDATE collector.partition_progress
      SET accounted = least(accounted, committed), accounted_at = due_at,
        due = committed, due_at = now()
      WHERE committed BETWEEN log_start AND log_end
        AND (due IS NULL OR due = accounted OR committed < due)`,
  });
}

// A topic that is gone has nothing that is due.
async function readDue(pool: Pool, before: number): Promise<DueRange[]> {
  const { rows } = await pool.query<DueRange>({
    name: 'offsets-due',
    text: `
      SELECT topic, partition, accounted AS from, least(due, accounted + $2) AS to,
        CASE WHEN accounted_at IS NOT NULL THEN floor(extract(epoch FROM greatest(
          accounted_at - make_interval(secs => $3), anew_at)) * 1000)::float8 END AS since
      FROM collector.partition_progress
      WHERE accounted < due AND due_at <= to_timestamp($1 / 1000.0)
        AND committed BETWEEN log_start AND log_end
      ORDER BY due_at, topic, partition`,
    values: [before, offsetsPerCall, loggedBeforeSeconds],
  });
  return rows;
}

/** How long before its offset is committed a message may be logged. */
const loggedBeforeSeconds = 600;

/** The longest stretch of the log that is scanned, in ms: beyond, comparing with Kafka costs less. */
const scannedMs = 2 * 3_600_000;

/**
 * The ranges of which each offset is logged, parked or known to have vanished. One scan of the log for all of
 * them: it has no index by offset, which every insert would pay for. Where that takes too long, none is.
 */
async function findWhole(pool: Pool, due: readonly DueRange[]): Promise<ReadonlySet<DueRange>> {
  const ranges = due.filter(({ since }) => since !== null && Date.now() - since < scannedMs);
  if (ranges.length === 0) return new Set();
  try {
    const counts = await countAccounted(pool, ranges);
    return new Set(ranges.filter(({ from, to }, index) => counts[index] === to - from));
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== queryCanceled) throw error;
    log.warn('counting the logged offsets takes too long; comparing them with Kafka', {
      ranges: ranges.length,
    });
    return new Set();
  }
}

const queryCanceled = '57014';
const countTimeoutMs = 10_000;

async function countAccounted(pool: Pool, ranges: readonly DueRange[]): Promise<number[]> {
  const { rows } = await inTransaction(pool, async (connection) => {
    await connection.query(`SET LOCAL statement_timeout = ${countTimeoutMs}`);
    return connection.query<{ place: number; count: number }>({
      text: `
        WITH range AS (
          SELECT topic, partition, first, beyond, place, to_timestamp(since / 1000.0) AS since
          FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::float8[])
            WITH ORDINALITY AS range (topic, partition, first, beyond, since, place)
        ), accounted AS (
          SELECT place, log."offset" FROM collector.event_log AS log
          JOIN range ON log.topic = range.topic AND log.partition = range.partition
            AND log."offset" >= first AND log."offset" < beyond AND recorded_at >= since
          WHERE recorded_at >= to_timestamp($6 / 1000.0)
          UNION
          SELECT place, generate_series(greatest(letter."offset", first),
            least(coalesce(letter.last_offset, letter."offset"), beyond - 1))
          FROM collector.dead_letters AS letter JOIN range USING (topic, partition)
          WHERE parked_at >= since
          UNION
          SELECT place, generate_series(greatest(first_offset, first),
            least(coalesce(last_offset, first_offset), beyond - 1))
          FROM collector.vanished_offsets JOIN range USING (topic, partition)
          WHERE reason = 'RETENTION' AND noticed_at >= since
        )
        SELECT place::int, count(*)::int AS count FROM accounted GROUP BY place`,
      values: [
        ranges.map(({ topic }) => topic),
        ranges.map(({ partition }) => partition),
        ranges.map(({ from }) => from),
        ranges.map(({ to }) => to),
        ranges.map(({ since }) => since),
        Math.min(...ranges.map(({ since }) => since!)),
      ],
    });
  });
  const counts = new Map(rows.map(({ place, count }) => [place, count]));
  return ranges.map((_, index) => counts.get(index + 1) ?? 0);
}

/** Accounts for a range, and asks for what is lost. @returns how many messages that is */
async function accountFor(
  { pool, kafka }: UnaccountedOffsetsDependencies,
  range: DueRange,
  { isWhole, deadline }: { readonly isWhole: boolean; readonly deadline: number },
): Promise<number> {
  const { lost, until } = isWhole
    ? { lost: [], until: range.to }
    : await compare({ pool, kafka }, range, deadline);
  await conclude(pool, range, { lost, until });
  return lost.length;
}

/** What a comparison with Kafka came to. */
interface Comparison {
  /** The messages that nobody has, and nobody is at. */
  readonly lost: readonly Coordinates[];
  /** Everything below is accounted for, or lost. */
  readonly until: number;
}

/** Each costs look-ups in Temporal: with this many the comparison goes on in the next call. */
const missingPerCall = 500;
const offsetsPerRead = 5_000;

async function compare(
  dependencies: UnaccountedOffsetsDependencies,
  { topic, partition, from, to }: OffsetRange,
  deadline: number,
): Promise<Comparison> {
  const missing: Identified[] = [];
  let until = from;
  while (until < to && missing.length < missingPerCall && Date.now() < deadline) {
    const next = Math.min(until + offsetsPerRead, to);
    const range = { topic, partition, from: until, to: next };
    missing.push(...(await findMissing(dependencies, range)));
    until = next;
  }
  const lost = missing.length === 0 ? [] : await keepAbandoned(getClient(), missing);
  const underWay = missing.find((message) => !lost.includes(message));
  if (underWay === undefined) return { lost, until };
  return { lost: lost.filter(({ offset }) => offset < underWay.offset), until: underWay.offset };
}

/** A message as the tables know it. */
interface Identified extends Coordinates {
  /** Of the event that it carries; null where it carries none. */
  readonly eventId: string | null;
  /** Null where it cannot be read. */
  readonly value: Buffer | null;
  readonly isReadable: boolean;
}

/** The messages in a range that are neither logged nor parked, nor copies of what is. */
async function findMissing(
  { pool, kafka }: UnaccountedOffsetsDependencies,
  range: OffsetRange,
): Promise<Identified[]> {
  const { topic, partition } = range;
  const missing: Identified[] = [];
  let read: Identified[] = [];
  const look = async (): Promise<void> => {
    missing.push(...(await keepMissing(pool, range, read)));
    read = [];
  };
  // A batch may be of one message.
  await readRange(kafka, range, async (entries) => {
    for (const entry of entries) read.push({ topic, partition, ...identify(topic, entry) });
    const bytes = read.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    if (read.length >= messagesPerLook || bytes >= bytesPerLook) await look();
  });
  await look();
  return missing;
}

const messagesPerLook = 1_000;
const bytesPerLook = 4 * 1024 * 1024;

function identify(
  topic: string,
  entry: LogRecord | UnreadableOffsets,
): Omit<Identified, 'topic' | 'partition'> {
  const { offset } = entry;
  if (entry.kind === 'unreadable') return { offset, eventId: null, value: null, isReadable: false };
  const { key, value } = entry;
  return { offset, eventId: eventIdOf({ topic, key, value }), value, isReadable: true };
}

function eventIdOf(message: Parameters<typeof parseMessage>[0]): string | null {
  try {
    return parseMessage(message).id;
  } catch {
    // Whatever the reason, the bridge has parked it.
    return null;
  }
}

// An event in the log counts only with the same content, as for the log itself: another one with its ID is
// to be parked, once for all of its copies. And a dead letter counts only with the same bytes: the log of a
// topic made anew has other messages at the same offsets.
async function keepMissing(
  pool: Pool,
  { topic, partition }: Omit<Coordinates, 'offset'>,
  messages: readonly Identified[],
): Promise<Identified[]> {
  if (messages.length === 0) return [];
  const { rows } = await pool.query<{ offset: number }>({
    text: `
      SELECT message."offset"::float8 AS "offset"
      FROM unnest($3::bigint[], $4::text[], $5::bytea[], $6::bool[])
        AS message ("offset", event_id, value, is_readable)
      WHERE NOT EXISTS (
          SELECT FROM collector.event_log AS log
          WHERE log.event_id = message.event_id
            AND log.payload = collector.json_of(message.value))
        AND NOT EXISTS (
          SELECT FROM collector.dead_letters AS letter
          WHERE letter.event_id = message.event_id AND letter.status <> 'redriven'
            AND letter.value_hash = sha256(message.value))
        AND NOT EXISTS (
          SELECT FROM collector.dead_letters AS letter
          WHERE letter.topic = $1 AND letter.partition = $2
            AND letter."offset" = message."offset"
            AND (NOT is_readable OR letter.value_hash = sha256(coalesce(message.value, ''))))`,
    values: [
      topic,
      partition,
      messages.map(({ offset }) => offset),
      messages.map(({ eventId }) => eventId),
      messages.map(({ value }) => value),
      messages.map(({ isReadable }) => isReadable),
    ],
  });
  const missing = new Set(rows.map(({ offset }) => offset));
  return messages.filter(({ offset }) => missing.has(offset));
}

/** Asks for what is lost, and goes on behind it. Nothing happens where another audit has gone on before. */
async function conclude(pool: Pool, range: DueRange, { lost, until }: Comparison): Promise<void> {
  const { topic, partition, from } = range;
  await inTransaction(pool, async (connection) => {
    const { rowCount } = await connection.query({
      name: 'offsets-accounted',
      text: `
        UPDATE collector.partition_progress SET accounted = $4
        WHERE topic = $1 AND partition = $2 AND accounted = $3 AND due >= $4`,
      values: [topic, partition, from, until],
    });
    if (rowCount === 0 || lost.length === 0) return;
    const ranges = rangesOf(lost.map(({ offset }) => offset));
    await connection.query({
      name: 'replays-request',
      text: `
        INSERT INTO collector.replays
          (topic, partition, first_offset, last_offset, next_offset, reason)
        SELECT $1, $2, first, last, first, 'UNACCOUNTED'
        FROM unnest($3::bigint[], $4::bigint[]) AS range (first, last)`,
      values: [topic, partition, ranges.map(({ first }) => first), ranges.map(({ last }) => last)],
    });
    afterCommit(connection, () => {
      tell({ topic, partition, from: ranges[0]!.first, to: ranges.at(-1)!.last + 1 }, lost.length);
    });
  });
}

function tell({ topic, partition, from, to }: OffsetRange, messages: number): void {
  auditFindings.inc({ finding: 'unaccounted' }, messages);
  log.warn('messages below the committed offset are neither logged nor parked; replaying them', {
    topic,
    partition,
    messages,
    first: from,
    last: to - 1,
  });
}

interface EndedReplay extends OffsetRange {
  readonly id: number;
}

async function readEndedReplays(pool: Pool, before: number): Promise<EndedReplay[]> {
  const { rows } = await pool.query<EndedReplay>({
    name: 'replays-ended',
    text: `
      SELECT id, topic, partition, first_offset AS from, last_offset + 1 AS to
      FROM collector.replays
      WHERE confirmed_at IS NULL AND finished_at <= to_timestamp($1 / 1000.0)
      ORDER BY finished_at LIMIT 500`,
    values: [before],
  });
  return rows;
}

/** Confirms a replay whose messages have arrived; begins it again where one has not and nobody is at it. */
async function confirmReplay(
  dependencies: UnaccountedOffsetsDependencies,
  replay: EndedReplay,
): Promise<number> {
  const missing = await findMissing(dependencies, replay);
  const lost = missing.length === 0 ? [] : await keepAbandoned(getClient(), missing);
  if (lost.length < missing.length) return 0;
  const { id } = replay;
  await dependencies.pool.query({
    name: lost.length === 0 ? 'replay-confirm' : 'replay-again',
    text:
      lost.length === 0
        ? 'UPDATE collector.replays SET confirmed_at = now() WHERE id = $1'
        : `UPDATE collector.replays
           SET next_offset = first_offset, finished_at = NULL, leased_until = now() WHERE id = $1`,
    values: [id],
  });
  if (lost.length > 0) tell(replay, lost.length);
  return lost.length;
}

/**
 * The ranges that hold the offsets: across gaps of less than a hundred, since what lies there is read again
 * without effect, and each range costs its own look-ups. Pure.
 *
 * @param offsets ascending
 */
export function rangesOf(offsets: readonly number[]): { first: number; last: number }[] {
  const ranges: { first: number; last: number }[] = [];
  for (const offset of offsets) {
    const range = ranges.at(-1);
    if (range !== undefined && offset - range.last < gapBetweenRanges) range.last = offset;
    else ranges.push({ first: offset, last: offset });
  }
  return ranges;
}

const gapBetweenRanges = 100;
