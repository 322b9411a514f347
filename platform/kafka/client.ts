/** Kafka: the configured client, kafkajs' logs forwarded to ours, and topic creation. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import {
  Kafka,
  KafkaJSProtocolError,
  logLevel,
  type Admin,
  type ITopicConfig,
  type KafkaConfig,
  type logCreator,
} from 'kafkajs';
import { readCertificateFile } from '../process/certificates';
import type { Config } from '../process/config';
import { tolerateLeaderlessPartitions } from './protocol';
import type { Logger } from '../observability/logger';

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
export function createKafka(config: Config, logger: Logger, options: KafkaOptions): Kafka {
  tolerateLeaderlessPartitions();
  return new Kafka({
    clientId: options.clientId,
    brokers: config.KAFKA_BROKERS,
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
}

/** Creates the missing topics; returns when all have leaders. */
export async function createTopics(kafka: Kafka, topics: ITopicConfig[]): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    await admin.createTopics({ topics, waitForLeaders: false });
    await untilLed(admin, topics);
  } finally {
    await admin.disconnect();
  }
}

const ledWithinMs = 15_000;
const ledPollMs = 100;

// The controller creates a topic before the brokers know it, and kafkajs' own wait for leaders fails
// with their unknown-topic error.
async function untilLed(admin: Admin, topics: readonly ITopicConfig[]): Promise<void> {
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
