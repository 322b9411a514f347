/**
 * Reads the log of a partition without a consumer group: its start and end offsets, the timestamp and
 * the entry at an offset.
 */
import Encoder from 'kafkajs/src/protocol/encoder';
import { createErrorFromCode } from 'kafkajs/src/protocol/error';
import { kafkajsOf, type KafkaClient } from './kafkajs';
import { decodeFetch, fetchVersion, type FetchAnswer, type FetchedPartition } from './protocol';
import type { LogEntry, LogRecord, UnreadableOffsets } from './record-batch';

/** A position in a partition. */
export interface LogPosition {
  readonly topic: string;
  readonly partition: number;
  /** Null: the start of the log. */
  readonly offset: number | null;
}

/** The state of a partition's log, from its leader. */
export interface PartitionLog {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is still there. */
  readonly start: number;
  /** The offset that the next message will get. */
  readonly end: number;
  /** The last stable offset: where an open transaction blocks readers; equals `end` when none does. */
  readonly stableEnd: number;
  /**
   * Timestamp of the first message at or after the requested position, in ms since the epoch, as set by
   * its producer; absent when there is none. A batch has the timestamp of its first record.
   */
  readonly nextAt?: number;
}

/** A partition whose leader does not answer, or that has none. */
export interface UnreadablePartition {
  readonly topic: string;
  readonly partition: number;
  readonly error: Error;
}

/** The state of each partition's log, in the order of the positions. @throws when no broker answers */
export function readPartitionLogs(
  kafka: KafkaClient,
  positions: readonly LogPosition[],
): Promise<(PartitionLog | UnreadablePartition)[]> {
  return withCluster(kafka, async (cluster) =>
    Promise.all(
      positions.map(async (position) => {
        try {
          return await readPartitionLog(cluster, position);
        } catch (error) {
          const { topic, partition } = position;
          return { topic, partition, error: error as Error };
        }
      }),
    ),
  );
}

/**
 * The entry at an offset: a record, or what is there instead. Undefined when the offset is outside the
 * log.
 *
 * @throws when the partition cannot be read now; retryable
 */
export function readEntryAt(
  kafka: KafkaClient,
  { topic, partition, offset }: { topic: string; partition: number; offset: number },
): Promise<LogEntry | undefined> {
  return withCluster(kafka, async (cluster) => {
    const position = { topic, partition, offset };
    const fetched = await fetchAt(cluster, position, { committed: true });
    if (fetched.errorCode === outOfRangeCode) return undefined;
    refuse(fetched.errorCode);
    for (const batch of fetched.batches) {
      if (batch.lastOffset < offset) continue;
      for (const entry of batch.open().entries) {
        const last = entry.kind === 'record' ? entry.offset : entry.lastOffset;
        if (last >= offset) return entry.offset <= offset ? entry : undefined;
      }
    }
    return undefined;
  });
}

/** A range of a partition: from the first offset to before the end. */
export interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/**
 * Reads what readers of committed messages see in the range, fetch by fetch. Offsets that the log no
 * longer has are left out.
 *
 * @throws when the partition cannot be read now; retryable
 */
export async function readRange(
  kafka: KafkaClient,
  { topic, partition, from, to }: OffsetRange,
  take: (entries: readonly (LogRecord | UnreadableOffsets)[]) => Promise<void>,
): Promise<void> {
  await withCluster(kafka, async (cluster) => {
    const start = await startOf(cluster, topic, partition);
    for (let offset = Math.max(from, start); offset < to;) {
      const position = { topic, partition, offset };
      const fetched = await fetchAt(cluster, position, { committed: true, maxBytes: rangeBytes });
      refuse(fetched.errorCode);
      const last = fetched.batches.at(-1);
      if (last === undefined) {
        throw new Error(
          `${topic}/${partition} cannot be read from ${offset} to ${to}: retry later.`,
        );
      }
      for (const batch of fetched.batches) {
        await take([...batch.open().entries].filter(isReadIn(offset, to)));
      }
      offset = last.lastOffset + 1;
    }
  });
}

const isReadIn =
  (from: number, to: number) =>
  (entry: LogEntry): entry is LogRecord | UnreadableOffsets =>
    entry.kind !== 'skipped' && entry.offset >= from && entry.offset < to;

/** A broker returns the first batch whole, however large, and nothing beyond the limit. */
const oneBatchBytes = 1;
const rangeBytes = 1024 * 1024;

const outOfRangeCode = 1;

async function readPartitionLog(
  cluster: Cluster,
  { topic, partition, offset }: LogPosition,
): Promise<PartitionLog> {
  const from = offset ?? 0;
  const fetched = await fetchAt(cluster, { topic, partition, offset: from }, { committed: true });
  if (fetched.errorCode !== outOfRangeCode) {
    refuse(fetched.errorCode);
    return toLog(cluster, topic, partition, from, fetched);
  }
  // The position is out of range: read from the start of the log instead.
  const start = await startOf(cluster, topic, partition);
  const fromStart = await fetchAt(
    cluster,
    { topic, partition, offset: start },
    { committed: true },
  );
  refuse(fromStart.errorCode);
  const { nextAt, ...log } = await toLog(cluster, topic, partition, start, fromStart);
  return from > log.end || nextAt === undefined ? log : { ...log, nextAt };
}

async function toLog(
  cluster: Cluster,
  topic: string,
  partition: number,
  offset: number,
  fetched: FetchedPartition,
): Promise<PartitionLog> {
  const start = Number(fetched.logStartOffset);
  const end = Number(fetched.highWatermark);
  const stableEnd = Number(fetched.lastStableOffset);
  const log = { topic, partition, start, end, stableEnd };
  if (offset >= end) return log;
  const nextAt = offset < stableEnd ? timeOf(fetched) : await heldBackSince();
  return nextAt === undefined ? log : { ...log, nextAt };

  async function heldBackSince(): Promise<number | undefined> {
    return timeOf(await fetchAt(cluster, { topic, partition, offset }, { committed: false }));
  }
}

function timeOf({ batches: [first] }: FetchedPartition): number | undefined {
  return first?.firstTimestamp;
}

function refuse(errorCode: number): void {
  if (errorCode !== 0) throw createErrorFromCode(errorCode);
}

// kafkajs internals: the connections to the brokers, and the leader of a partition.
interface Cluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  addTargetTopic(topic: string): Promise<void>;
  findLeaderForPartitions(topic: string, partitions: number[]): Record<string, number[]>;
  findBroker(of: { nodeId: string }): Promise<Broker>;
}

interface Broker {
  readonly connectionPool: {
    send(request: object): Promise<unknown>;
    getConnection(index: number): Promise<unknown>;
  };
  listOffsets(input: object): Promise<{
    responses: readonly { partitions: readonly { offset: string }[] }[];
  }>;
}

async function withCluster<T>(
  client: KafkaClient,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const kafka = kafkajsOf(client);
  const create = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  );
  if (create === undefined) {
    throw new TypeError(
      'kafkajs has no createCluster any more. Install the version in package.json.',
    );
  }
  const options = { metadataMaxAge: 300_000, allowAutoTopicCreation: false };
  const cluster = (kafka as unknown as Record<symbol, (of: object) => Cluster>)[create]!(options);
  await cluster.connect();
  try {
    return await work(cluster);
  } finally {
    await cluster.disconnect();
  }
}

async function leaderOf(cluster: Cluster, topic: string, partition: number): Promise<Broker> {
  await cluster.addTargetTopic(topic);
  const [nodeId] = Object.keys(cluster.findLeaderForPartitions(topic, [partition]));
  if (nodeId === undefined || nodeId === '-1') throw createErrorFromCode(leaderNotAvailableCode);
  return cluster.findBroker({ nodeId });
}

const leaderNotAvailableCode = 5;

/** Kafka's special timestamp for the start of the log. */
const earliest = -2;

async function startOf(cluster: Cluster, topic: string, partition: number): Promise<number> {
  const broker = await leaderOf(cluster, topic, partition);
  const topics = [{ topic, partitions: [{ partition, timestamp: earliest }] }];
  const { responses } = await broker.listOffsets({ replicaId: -1, isolationLevel: 0, topics });
  return Number(responses[0]!.partitions[0]!.offset);
}

interface FetchOptions {
  /** Isolation level: read only up to the last stable offset. */
  readonly committed: boolean;
  /** One batch, unless set. */
  readonly maxBytes?: number;
}

async function fetchAt(
  cluster: Cluster,
  { topic, partition, offset }: { topic: string; partition: number; offset: number },
  options: FetchOptions,
): Promise<FetchedPartition> {
  const broker = await leaderOf(cluster, topic, partition);
  await openForFetches(broker);
  const answer = (await broker.connectionPool.send({
    request: fetchRequest(topic, partition, offset, options),
    response: { decode: async (bytes: Buffer) => decodeFetch(bytes), parse: keep },
  })) as FetchAnswer;
  return answer.responses[0]!.partitions[0]!;
}

const opened = new WeakMap<Broker, Promise<unknown>>();

/** The broker connection that kafkajs uses for fetches. */
const fetchConnection = 1;

// Concurrent fetches on a closed connection make kafkajs open one each, and it only ever closes the
// last: a leak.
async function openForFetches(broker: Broker): Promise<void> {
  const opening = opened.get(broker) ?? broker.connectionPool.getConnection(fetchConnection);
  opened.set(broker, opening);
  await opening;
}

const keep = async (answer: FetchAnswer): Promise<FetchAnswer> => answer;

// https://kafka.apache.org/protocol#The_Messages_Fetch, in version 11
function fetchRequest(
  topic: string,
  partition: number,
  offset: number,
  { committed, maxBytes = oneBatchBytes }: FetchOptions,
): object {
  const asked = new Encoder()
    .writeInt32(partition)
    .writeInt32(-1) // whatever leader there is
    .writeBuffer(int64(offset))
    .writeBuffer(int64(-1))
    .writeInt32(maxBytes);
  const encode = async () =>
    new Encoder()
      .writeInt32(-1) // a client, no replica
      .writeInt32(0) // not waiting for more
      .writeInt32(0)
      .writeInt32(maxBytes)
      .writeBuffer(Buffer.from([committed ? 1 : 0]))
      .writeInt32(0) // no session
      .writeInt32(-1)
      .writeArray([new Encoder().writeString(topic).writeArray([asked])])
      .writeArray([])
      .writeString('');
  return { apiKey: 1, apiVersion: fetchVersion, apiName: 'Fetch', encode };
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}
