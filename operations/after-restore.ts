/**
 * After PostgreSQL was restored to an earlier moment, while Kafka and Temporal remember the later one:
 * puts right what the restored tables say of them. Idempotent.
 *
 * - **Transaction IDs.** A logical restore keeps `recorded_in` and `handled_in`, but the server counts
 *   anew. New rows would sort before restored ones, and readers behind those would not see them.
 * - **Offsets.** The group has committed what the tables no longer hold. It goes back to the first offset
 *   in each partition whose message is neither handled nor parked, and the bridge reads on from there.
 * - **The shop.** Its own lost changes cannot be brought back from events: they are counted and named, and
 *   the outbox gets those events again, and others that say what the shop holds (shop-after-restore.ts).
 */
import type { Pool } from 'pg';
import { shopSource } from '../events/envelope';
import { isDerivedEventId } from '../events/identifiers';
import { InvalidEventError } from '../events/errors';
import { parseMessage } from '../events/parse';
import { eventTopics, type EventTopic } from '../events/topics';
import type { KafkaClient } from '../platform/kafka/client';
import { countMembers, moveGroup } from '../platform/kafka/consumer-group';
import { readConsumerLag, type PartitionLag } from '../platform/kafka/consumer-lag';
import { readPartitionLogs, readRange } from '../platform/kafka/partition-log';
import type { LogRecord, UnreadableOffsets } from '../platform/kafka/record-batch';
import { inTransaction } from '../platform/postgres/pool';
import {
  adopt,
  findLost,
  findLostDecisions,
  tellAnew,
  type LostDecision,
  type ToldAnew,
  type ToldEvent,
} from './shop-after-restore';

export interface RestoreDependencies {
  /** Connected as the owner of the tables. */
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  /** The bridge's consumer group. */
  readonly groupId: string;
}

export interface RestoreOptions {
  /** Changes nothing, and lets bridges run: what they have just committed may then count as missing. */
  readonly isDryRun?: boolean;
  /** Called as messages are compared with the tables. */
  readonly onProgress?: (progress: RestoreProgress) => void;
}

interface RestoreProgress {
  readonly topic: string;
  readonly partition: number;
  /** Messages compared so far, in all partitions. */
  readonly done: number;
  /** Messages that Kafka has. */
  readonly total: number;
}

/** What was found, and put right. */
export interface RestoreReport {
  /** Rows with new transaction IDs, by table; 0 where they were not ahead of the server, or in a dry run. */
  readonly renumbered: { readonly eventLog: number; readonly eventHandled: number };
  /** The partitions that the bridge reads again; after a dry run, would read. */
  readonly rewound: readonly RewoundPartition[];
  /**
   * The shop's events in Kafka whose changes its tables no longer hold. They are found once: the outbox has
   * them afterwards, unless it was a dry run.
   */
  readonly lostByShop: {
    readonly events: number;
    /** The aggregates that they were about, by topic and ID. */
    readonly aggregates: readonly string[];
  };
  /** Orders whose decision was lost by the shop; those of events that a dry run has found are not among them. */
  readonly lostDecisions: readonly LostDecision[];
  /** Where the shop has told anew what it holds; nothing in a dry run. */
  readonly toldAnew: ToldAnew;
}

export interface RewoundPartition {
  readonly topic: string;
  readonly partition: number;
  /** The offset that was committed. */
  readonly from: number;
  /** The first that is neither handled nor parked, or else the log's end: now the committed one. */
  readonly to: number;
  /** Messages from there on that are neither handled nor parked. */
  readonly missing: number;
  /** Where the log ends, if that is before the offset that was committed: Kafka has lost messages, too. */
  readonly logEnd?: number;
}

/** Bridges still read: the offsets cannot be set under them. */
class GroupActiveError extends Error {
  override readonly name = 'GroupActiveError';
  readonly code = 'GROUP_ACTIVE';
}

/**
 * @throws GroupActiveError while a bridge is running; nothing was done
 * @throws whatever PostgreSQL or Kafka fails with; what was done by then stands, and a repeat goes on
 */
export async function repairAfterRestore(
  { pool, kafka, groupId }: RestoreDependencies,
  { isDryRun = false, onProgress = () => undefined }: RestoreOptions = {},
): Promise<RestoreReport> {
  if (!isDryRun) await assertNoBridge(kafka, groupId);
  const renumbered = {
    eventLog: isDryRun ? 0 : await renumber(pool, 'event_log', 'recorded_in'),
    eventHandled: isDryRun ? 0 : await renumber(pool, 'event_handled', 'handled_in'),
  };
  const partitions = await readLogs(kafka, groupId);
  const comparison = createComparison(pool, partitions, { isDryRun, onProgress });
  const rewound: RewoundPartition[] = [];
  for (const partition of partitions) {
    const found = await comparison.compare(kafka, partition);
    if (found !== undefined) rewound.push(found);
  }
  const toldAnew = isDryRun ? { stock: [], likes: [] } : await tellAnew(pool);
  if (!isDryRun && rewound.length > 0) {
    const positions = rewound.map(({ to, ...place }) => ({ ...place, offset: to }));
    await moveGroup(kafka, groupId, positions);
  }
  const lostDecisions = await findLostDecisions(pool);
  const lostByShop = comparison.lostByShop();
  return { renumbered, rewound, lostByShop, lostDecisions, toldAnew };
}

async function assertNoBridge(kafka: KafkaClient, groupId: string): Promise<void> {
  const members = await countMembers(kafka, groupId);
  if (members === 0) return;
  throw new GroupActiveError(
    `The consumer group ${groupId} has ${members} members. Stop every bridge, and repeat the command.`,
  );
}

/**
 * Gives the rows transaction IDs below the server's counter, in the same order, if any of them is ahead of
 * it. Where there are fewer IDs below than transactions, neighbours share one: readers take the rows of one
 * ID by their event's.
 *
 * @returns how many rows have another ID
 */
function renumber(
  pool: Pool,
  table: 'event_log' | 'event_handled',
  column: 'recorded_in' | 'handled_in',
): Promise<number> {
  return inTransaction(pool, async (connection) => {
    await connection.query(`
      SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
      LOCK TABLE collector.${table} IN SHARE ROW EXCLUSIVE MODE`);
    const { rows } = await connection.query<{ ahead: boolean; free: string }>(`
      SELECT coalesce(max(${column}) >= pg_snapshot_xmax(pg_current_snapshot()), false) AS ahead,
        pg_snapshot_xmin(pg_current_snapshot())::text::numeric - ${firstTransactionId} AS free
      FROM collector.${table}`);
    const { ahead, free } = rows[0]!;
    if (!ahead) return 0;
    const { rowCount } = await connection.query(
      `
      WITH placed AS (
        SELECT event_id, dense_rank() OVER (ORDER BY ${column}) - 1 AS place
        FROM collector.${table}
      ), counted AS (SELECT max(place) + 1 AS places FROM placed)
      UPDATE collector.${table} AS entry
      SET ${column} =
        (${firstTransactionId} + floor(place * least(1, $1::numeric / places)))::text::xid8
      FROM placed, counted WHERE placed.event_id = entry.event_id`,
      [free],
    );
    return rowCount ?? 0;
  });
}

/** The first transaction ID that PostgreSQL hands out. */
const firstTransactionId = 3;

/** A partition with what the bridge has committed of it. */
interface ComparedLog extends PartitionLag {
  readonly topic: EventTopic;
  /** Where readers stop: an open transaction of somebody else may end later. */
  readonly stableEnd: number;
}

async function readLogs(kafka: KafkaClient, groupId: string): Promise<ComparedLog[]> {
  const partitions = await readConsumerLag(kafka, groupId, eventTopics);
  const positions = partitions.map(({ topic, partition, start: offset }) => ({
    topic,
    partition,
    offset,
  }));
  const logs = await readPartitionLogs(kafka, positions);
  return partitions.map((each, index) => {
    const log = logs[index]!;
    if ('error' in log) throw log.error;
    return { ...each, topic: each.topic as EventTopic, stableEnd: log.stableEnd };
  });
}

/**
 * Compares what Kafka has with the tables: all of it with the outbox, and what is below the committed offsets
 * with what is handled and parked.
 */
interface Comparison {
  /** @returns undefined when the offset is in the log, and everything below is handled or parked */
  compare(kafka: KafkaClient, log: ComparedLog): Promise<RewoundPartition | undefined>;
  lostByShop(): RestoreReport['lostByShop'];
}

function createComparison(
  pool: Pool,
  logs: readonly ComparedLog[],
  { isDryRun, onProgress }: Required<RestoreOptions>,
): Comparison {
  const total = logs.reduce((sum, { start, stableEnd }) => sum + stableEnd - start, 0);
  const lost = { events: 0, aggregates: new Set<string>() };
  let done = 0;
  const takeLost = async (told: readonly ToldEvent[]): Promise<void> => {
    const events = await findLost(pool, told);
    lost.events += events.length;
    for (const { topic, key } of events) lost.aggregates.add(`${topic}/${key}`);
    if (!isDryRun) await adopt(pool, events);
  };
  return {
    async compare(kafka, { topic, partition, committed, start, end, stableEnd }) {
      const place = { topic, partition };
      let first: number | undefined;
      let missing = 0;
      await readRange(kafka, { ...place, from: start, to: stableEnd }, async (entries) => {
        const messages = entries.map((entry) => identify(place, entry));
        const passed = messages.filter(({ offset }) => committed !== null && offset < committed);
        const found = await findMissing(pool, place, passed);
        first ??= found[0];
        missing += found.length;
        await takeLost(messages.flatMap(({ told }) => told ?? []));
        done += entries.length;
        onProgress({ ...place, done, total });
      });
      if (committed === null) return undefined;
      const rewound = { ...place, from: committed, to: first ?? stableEnd, missing };
      if (committed > end) return { ...rewound, logEnd: end };
      return first === undefined ? undefined : rewound;
    },
    lostByShop: () => ({ events: lost.events, aggregates: [...lost.aggregates] }),
  };
}

/** A message as the tables know it. */
interface Identified {
  readonly offset: number;
  /** Of an event; without one the message is to be parked. */
  readonly eventId?: string;
  /** The event's source: another event of the same ID is another's. */
  readonly source?: string;
  /** An event of the shop's outbox. */
  readonly told?: ToldEvent;
}

function identify(
  place: { readonly topic: EventTopic; readonly partition: number },
  entry: LogRecord | UnreadableOffsets,
): Identified {
  const { offset } = entry;
  if (entry.kind === 'unreadable') return { offset };
  try {
    const { key, value } = entry;
    const { id: eventId, source, subject, type } = parseMessage({ ...place, key, value });
    const isOfShop = value !== null && source === shopSource && isDerivedEventId(eventId);
    const told = isOfShop ? { ...place, offset, eventId, key: subject, type, value } : undefined;
    return { offset, eventId, source, ...(told && { told }) };
  } catch (error) {
    if (error instanceof InvalidEventError) return { offset };
    throw error;
  }
}

/**
 * The offsets of the messages that are neither handled nor parked, in their order. What is logged and not
 * handled is missing, too: the audit may have passed that moment before it was restored.
 */
async function findMissing(
  pool: Pool,
  { topic, partition }: { readonly topic: string; readonly partition: number },
  messages: readonly Identified[],
): Promise<number[]> {
  const { rows } = await pool.query<{ offset: number }>(
    `
    SELECT "offset"::float8 AS "offset"
    FROM unnest($3::bigint[], $4::text[], $5::text[]) AS message ("offset", event_id, source)
    WHERE NOT EXISTS (
        SELECT FROM collector.event_handled JOIN collector.event_log AS log USING (event_id)
        WHERE event_handled.event_id = message.event_id
          AND log.payload ->> 'source' = message.source)
      AND NOT EXISTS (
        SELECT FROM collector.dead_letters AS letter
        WHERE letter.topic = $1 AND letter.partition = $2 AND letter."offset" = message."offset")
    ORDER BY "offset"`,
    [
      topic,
      partition,
      messages.map(({ offset }) => offset),
      messages.map(({ eventId }) => eventId ?? null),
      messages.map(({ source }) => source ?? null),
    ],
  );
  return rows.map(({ offset }) => offset);
}
