/** Brokers in memory, for tests of the sender's decisions: what they answer is up to the test. */
import {
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  type Message,
  type ProducerBatch,
  type RecordMetadata,
} from 'kafkajs';
import type { KafkaClient } from '../../platform/kafka/client';

/** What a request carries: the messages' values, by partition. */
export type Carried = ReadonlyMap<number, readonly string[]>;

/** Answers a request, with `store` to append what it takes to the log of a partition. */
export type Answer = (carried: Carried, store: Store) => Promise<Partial<RecordMetadata>[]>;

/** Appends the messages of one partition of the request, and returns the record of them. */
type Store = (partition: number) => Partial<RecordMetadata>;

export interface FakeBrokers {
  readonly kafka: KafkaClient;
  /** What was sent, in the order in which the requests began. */
  readonly requests: { readonly topic: string; readonly carried: Carried }[];
  /** What is stored, by `topic/partition`, in the order of its offsets. */
  readonly stored: ReadonlyMap<string, readonly string[]>;
  /** Partitions that were in two requests at the same time. */
  readonly crossed: ReadonlySet<string>;
  /** Partitions that a producer sent to again after a request of theirs through it had failed. */
  readonly reused: ReadonlySet<string>;
  /** How often a producer has connected. */
  connections(): number;
  /** How often a producer has disconnected. */
  disconnections(): number;
}

export interface FakeBrokersOptions {
  /** The leader of each partition of every topic. */
  readonly leaders?: readonly number[];
  readonly answer?: Answer;
  /** Answers by topic, where they differ. */
  readonly answers?: Readonly<Record<string, Answer>>;
  /** Rejects while the brokers cannot be reached. */
  readonly connect?: () => Promise<void>;
}

/** Stores everything, and says where. */
export const acknowledge: Answer = async (carried, store) => [...carried.keys()].map(store);

/** An error with a code of the protocol, as kafkajs' producer throws it after its retries. */
export function refused(type: string): Error {
  const details = { message: type, type, code: 0 } as unknown as Error;
  return new KafkaJSNumberOfRetriesExceeded(new KafkaJSProtocolError(details), {
    retryCount: 2,
    retryTime: 0,
  });
}

export function fakeBrokers(options: FakeBrokersOptions = {}): FakeBrokers {
  const { leaders = [0], answer = acknowledge, answers = {}, connect } = options;
  const requests: { topic: string; carried: Carried }[] = [];
  const stored = new Map<string, string[]>();
  const [inFlight, crossed, reused] = [new Set<string>(), new Set<string>(), new Set<string>()];
  let connections = 0;
  let disconnections = 0;
  const send = async ({ topicMessages = [] }: ProducerBatch, failed: Set<string>) => {
    const [{ topic, messages }] = topicMessages as [{ topic: string; messages: Message[] }];
    const carried = byPartition(messages);
    requests.push({ topic, carried });
    const places = [...carried.keys()].map((partition) => `${topic}/${partition}`);
    for (const place of places) (inFlight.has(place) ? crossed : inFlight).add(place);
    for (const place of places) if (failed.has(place)) reused.add(place);
    try {
      return await (answers[topic] ?? answer)(carried, (partition) => {
        const log = stored.get(`${topic}/${partition}`) ?? [];
        stored.set(`${topic}/${partition}`, log);
        const baseOffset = String(log.length);
        log.push(...carried.get(partition)!);
        return { topicName: topic, partition, baseOffset };
      });
    } catch (error) {
      for (const place of places) failed.add(place);
      throw error;
    } finally {
      for (const place of places) inFlight.delete(place);
    }
  };
  const producer = () => {
    const failed = new Set<string>();
    return {
      connect: async () => {
        await connect?.();
        connections += 1;
      },
      disconnect: async () => {
        disconnections += 1;
      },
      sendBatch: (batch: ProducerBatch) => send(batch, failed),
    };
  };
  const admin = () => ({
    connect: () => Promise.resolve(),
    disconnect: () => Promise.resolve(),
    fetchTopicMetadata: async ({ topics }: { topics: string[] }) => ({
      topics: topics.map((name) => ({
        name,
        partitions: leaders.map((leader, partitionId) => ({ partitionId, leader })),
      })),
    }),
  });
  const kafka = { producer, admin } as unknown as KafkaClient;
  const counts = { connections: () => connections, disconnections: () => disconnections };
  return { kafka, requests, stored, crossed, reused, ...counts };
}

function byPartition(messages: readonly Message[]): Map<number, string[]> {
  const carried = new Map<number, string[]>();
  for (const { partition, value } of messages) {
    const values = carried.get(partition!) ?? [];
    carried.set(partition!, values);
    values.push(String(value));
  }
  return carried;
}
