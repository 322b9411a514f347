/**
 * Looks into the log of a partition without a consumer: where it begins and ends, since when a message
 * waits at an offset, and what stands there. Nothing of it moves a consumer group.
 */
import type { Kafka } from 'kafkajs';
import Encoder from 'kafkajs/src/protocol/encoder';
import { createErrorFromCode } from 'kafkajs/src/protocol/error';
import { decodeFetch, fetchVersion, type FetchAnswer, type FetchedPartition } from './protocol';
import type { LogEntry } from './record-batch';

/** A position in a partition. */
export interface LogPosition {
  readonly topic: string;
  readonly partition: number;
  /** Null: where the log begins. */
  readonly offset: number | null;
}

/** Where the log of a partition stands, as its leader says. */
export interface PartitionLog {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is still there. */
  readonly start: number;
  /** The offset that the next message will get. */
  readonly end: number;
  /** The first offset that an open transaction holds back from readers; equals `end` when none does. */
  readonly stableEnd: number;
  /**
   * When the message at the position that was asked for, or the first behind it, was produced, in ms
   * since the epoch, as its producer says; absent when there is none. A batch counts with its first.
   */
  readonly nextAt?: number;
}

/** A partition whose leader does not tell, or that has none. */
export interface UnreadablePartition {
  readonly topic: string;
  readonly partition: number;
  readonly error: Error;
}

/** Where the log of each partition stands, in the order of the positions. @throws when no broker answers */
export function readPartitionLogs(
  kafka: Kafka,
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
 * What stands at an offset: a record, or what is there instead of one. Undefined when the log does not
 * reach there any more, or not yet.
 *
 * @throws when the partition cannot be read now; a retry helps
 */
export function readEntryAt(
  kafka: Kafka,
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

/** A broker sends the first batch whole, however large, and no more than it is asked for. */
const oneBatchBytes = 1;

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
  // The log does not have the position: it is looked at from where it begins, if that is behind it.
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

// What kafkajs keeps to itself: a connection to the brokers, and which of them leads a partition.
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

async function withCluster<T>(kafka: Kafka, work: (cluster: Cluster) => Promise<T>): Promise<T> {
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

/** What a broker is asked for where it begins, instead of a time. */
const earliest = -2;

async function startOf(cluster: Cluster, topic: string, partition: number): Promise<number> {
  const broker = await leaderOf(cluster, topic, partition);
  const topics = [{ topic, partitions: [{ partition, timestamp: earliest }] }];
  const { responses } = await broker.listOffsets({ replicaId: -1, isolationLevel: 0, topics });
  return Number(responses[0]!.partitions[0]!.offset);
}

interface FetchOptions {
  /** Whether to see only what no open transaction holds back. */
  readonly committed: boolean;
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

/** Which of a broker's connections kafkajs fetches over. */
const fetchConnection = 1;

// Of fetches that find it closed, kafkajs opens one for each, and ever closes only the last of them.
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
  { committed }: FetchOptions,
): object {
  const asked = new Encoder()
    .writeInt32(partition)
    .writeInt32(-1) // whatever leader there is
    .writeBuffer(int64(offset))
    .writeBuffer(int64(-1))
    .writeInt32(oneBatchBytes);
  const encode = async () =>
    new Encoder()
      .writeInt32(-1) // a client, no replica
      .writeInt32(0) // not waiting for more
      .writeInt32(0)
      .writeInt32(oneBatchBytes)
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
