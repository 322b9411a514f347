/** Kafka: the client as configured, its log lines in ours, and the topics made as they must be. */
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

/** Options of the client that differ by use. */
export interface KafkaOptions {
  /** Who connects, as the brokers log it. */
  readonly clientId: string;
  /** After how many ms a request without an answer counts as failed. */
  readonly requestTimeoutMs?: number;
}

/**
 * A Kafka client. It connects when its producer, consumer or admin does.
 *
 * @throws ConfigurationError when a certificate's file cannot be read
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
    // How long kafkajs tries to connect, whatever the retries of a producer are: its default makes the
    // first send of an outage take 20 s. Whoever connects tries again by itself.
    retry: { retries: 3, initialRetryTime: 200, maxRetryTime: 1_000 },
    logLevel: logLevel.WARN,
    logCreator: logTo(logger),
  });
}

/** Creates those of the topics that do not exist yet; returns when they can be used. */
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

// The controller has created a topic before the brokers know of it. kafkajs' own way of waiting for
// leaders takes their not knowing it for an error.
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
  // kafkajs types each mechanism apart, though they look the same.
  return { sasl: { mechanism, username, password } as KafkaConfig['sasl'] & object };
}

// kafkajs logs at ERROR what it then tries again by itself. What does not mend itself is thrown, and
// whoever catches it knows what it means; so these lines are details, one level lower.
function logTo(logger: Logger): logCreator {
  return () =>
    ({ level, namespace, log: { message, timestamp: _, ...details } }) => {
      const target = level === logLevel.ERROR ? 'info' : 'debug';
      logger[target]({ kafka: { namespace, ...details } }, `Kafka: ${message}`);
    };
}
