/** Kafka: the configured client, kafkajs' logs forwarded to ours, and topic creation. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import {
  Kafka,
  KafkaJSAggregateError,
  KafkaJSProtocolError,
  logLevel,
  type Admin,
  type ITopicConfig,
  type KafkaConfig,
  type logCreator,
} from 'kafkajs';
import { readCertificateFile } from '../process/certificates';
import type { Config } from '../process/config';
import { withAdmin } from './admin';
import { clientOf, type KafkaClient } from './kafkajs';
import { tolerateLeaderlessPartitions } from './protocol';
import { leaveEmptyQueues } from './request-queue';
import { topicProblemOf } from './topic-administration';
import type { Logger } from '../observability/logger';

export type { KafkaClient } from './kafkajs';

/** Client options that differ by use. */
export interface KafkaOptions {
  /** Client ID in the brokers' logs. */
  readonly clientId: string;
  readonly requestTimeoutMs?: number;
}

/**
 * A Kafka client. It connects when its producer, consumer or admin does.
 *
 * @throws ConfigurationError when a certificate file cannot be read
 */
export function createKafka(config: Config, logger: Logger, options: KafkaOptions): KafkaClient {
  tolerateLeaderlessPartitions();
  leaveEmptyQueues();
  const kafka = new Kafka({
    clientId: options.clientId,
    brokers: () => fromAnyOn(config.KAFKA_BROKERS),
    connectionTimeout: 3_000,
    requestTimeout: options.requestTimeoutMs ?? 10_000,
    ssl: tlsOf(config),
    ...saslOf(config),
    // Retries of kafkajs' connects, whatever the retries of a producer are: with its default the first
    // send of an outage takes 20 s. Every caller retries by itself.
    retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 1_000 },
    logLevel: logLevel.WARN,
    logCreator: logTo(logger),
  });
  return clientOf(kafka);
}

// kafkajs asks the first one first, each time that a client connects: it may be the one that hangs.
function fromAnyOn(brokers: readonly string[]): string[] {
  const first = Math.floor(Math.random() * brokers.length);
  return [...brokers.slice(first), ...brokers.slice(0, first)];
}

/** A topic to be created. */
export interface NewTopic {
  readonly topic: string;
  readonly partitions: number;
  /** Of the topic's configuration, by name, such as `retention.ms`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** On how many brokers topics are kept. */
export interface TopicReplication {
  /** Replicas of each partition. Default: one on each broker, up to three. */
  readonly replicas?: number | undefined;
  /** Replicas that must have a message before it is acknowledged. Default: all but one. */
  readonly minInSyncReplicas?: number | undefined;
  /** Brokers that there are at least: one that is away at the moment must not cost a replica. */
  readonly knownBrokers?: number;
}

/** The brokers have not created a topic. Retryable once there are enough of them. */
class TopicCreationError extends Error {
  override readonly name = 'TopicCreationError';
  readonly code = 'TOPIC_NOT_CREATED';
}

/**
 * Creates the missing topics; returns when all have leaders. Those that exist stay as they are.
 *
 * @throws TopicCreationError when the brokers refuse, as they do where there are fewer than replicas
 */
export async function createTopics(
  kafka: KafkaClient,
  topics: readonly NewTopic[],
  replication: TopicReplication = {},
): Promise<void> {
  await withAdmin(kafka, async (admin) => {
    const replicated = topics.map(withReplicas(replication, await countBrokers(admin)));
    await admin.createTopics({ topics: replicated, waitForLeaders: false }).catch(explainRefusal);
    await untilLed(admin, topics);
  });
}

// kafkajs reads the metadata of every topic with it, and fails while one of them elects a leader.
async function countBrokers(admin: Admin): Promise<number> {
  for (const deadline = Date.now() + ledWithinMs; ; await sleep(ledPollMs)) {
    try {
      return (await admin.describeCluster()).brokers.length;
    } catch (error) {
      if (topicProblemOf(error) !== 'leaderless' || Date.now() > deadline) throw error;
    }
  }
}

// kafkajs' own message says nothing but that something went wrong.
function explainRefusal(error: unknown): never {
  if (!(error instanceof KafkaJSAggregateError)) throw error;
  const refusals = error.errors.filter((each) => each instanceof KafkaJSProtocolError);
  const refusal = refusals.find(({ type }) => type !== 'TOPIC_ALREADY_EXISTS');
  const advice =
    refusal?.type === 'INVALID_REPLICATION_FACTOR'
      ? ' Start every broker, or set KAFKA_TOPIC_REPLICAS to how many there are.'
      : '';
  const message = `The topics could not be created: ${(refusal ?? error).message}.${advice}`;
  throw new TopicCreationError(message, { cause: refusal ?? error });
}

const mostDefaultReplicas = 3;

function withReplicas(
  { replicas, minInSyncReplicas, knownBrokers = 1 }: TopicReplication,
  presentBrokers: number,
): (topic: NewTopic) => ITopicConfig {
  const factor = replicas ?? Math.min(mostDefaultReplicas, Math.max(presentBrokers, knownBrokers));
  const minInSync = minInSyncReplicas ?? Math.max(1, factor - 1);
  return ({ topic, partitions, settings }) => ({
    topic,
    numPartitions: partitions,
    replicationFactor: factor,
    configEntries: Object.entries({
      ...settings,
      'min.insync.replicas': String(minInSync),
    }).map(([name, value]) => ({ name, value })),
  });
}

const ledWithinMs = 15_000;
const ledPollMs = 100;

// The controller creates a topic before the brokers know it, and kafkajs' own wait for leaders fails
// with their unknown-topic error.
async function untilLed(admin: Admin, topics: readonly NewTopic[]): Promise<void> {
  const names = topics.map(({ topic }) => topic);
  for (const deadline = Date.now() + ledWithinMs; ; await sleep(ledPollMs)) {
    try {
      const { topics: known } = await admin.fetchTopicMetadata({ topics: names });
      const partitions = known.flatMap((topic) => topic.partitions);
      if (partitions.every(({ leader }) => leader >= 0) || Date.now() > deadline) return;
    } catch (error) {
      if (!(error instanceof KafkaJSProtocolError) || Date.now() > deadline) throw error;
    }
  }
}

function tlsOf(config: Config): ConnectionOptions | boolean {
  if (!config.KAFKA_SSL) return false;
  const read = (
    name: 'KAFKA_SSL_CA_FILE' | 'KAFKA_SSL_CERT_FILE' | 'KAFKA_SSL_KEY_FILE',
  ): Buffer | undefined =>
    config[name] === undefined ? undefined : readCertificateFile(name, config[name]);
  return {
    ca: read('KAFKA_SSL_CA_FILE'),
    cert: read('KAFKA_SSL_CERT_FILE'),
    key: read('KAFKA_SSL_KEY_FILE'),
  };
}

function saslOf(config: Config): Pick<KafkaConfig, 'sasl'> {
  const { KAFKA_SASL_MECHANISM: mechanism } = config;
  if (mechanism === undefined) return {};
  const username = config.KAFKA_SASL_USERNAME ?? '';
  const password = config.KAFKA_SASL_PASSWORD ?? '';
  // kafkajs has a type for each mechanism, though all have the same shape.
  return { sasl: { mechanism, username, password } as KafkaConfig['sasl'] & object };
}

// kafkajs logs at ERROR what it then retries. What it cannot recover from is thrown, and the caller
// logs it in context; so these lines go two levels lower.
function logTo(logger: Logger): logCreator {
  return () =>
    ({ level, namespace, log: { message, timestamp: _, ...details } }) => {
      const target = level === logLevel.ERROR ? 'info' : 'debug';
      logger[target]({ kafka: { namespace, ...details } }, `Kafka: ${message}`);
    };
}
