/** Whether the brokers take a connection, and what an error says of it. */
import {
  Kafka,
  KafkaJSError,
  KafkaJSProtocolError,
  KafkaJSSASLAuthenticationError,
  logLevel,
} from 'kafkajs';
import { kafkajsOf, type KafkaClient } from './kafkajs';
import { leaveEmptyQueues } from './request-queue';

/** Connects and disconnects, without retries. @throws what prevents it; see `connectionFailureOf` */
export async function tryConnection(kafka: KafkaClient): Promise<void> {
  const admin = kafkajsOf(kafka).admin({ retry: { retries: 0 } });
  try {
    await admin.connect();
  } finally {
    await admin.disconnect();
  }
}

/** What lies beneath an error of the client. */
export interface ConnectionFailure {
  readonly cause: Error;
  /** Whether the brokers reject the user, the password or the mechanism. */
  readonly rejectsCredentials: boolean;
}

/** What an error of the client says of the connection; undefined for any other error. */
export function connectionFailureOf(error: unknown): ConnectionFailure | undefined {
  if (!(error instanceof KafkaJSError)) return undefined;
  // Wrapped once kafkajs has used up its retries.
  const cause = error.cause instanceof KafkaJSError ? error.cause : error;
  const isUnknownMechanism =
    cause instanceof KafkaJSProtocolError && cause.type === 'UNSUPPORTED_SASL_MECHANISM';
  const rejectsCredentials = isUnknownMechanism || cause instanceof KafkaJSSASLAuthenticationError;
  return { cause, rejectsCredentials };
}

/**
 * Whether the broker at this address answers within two seconds and has joined its cluster.
 *
 * @throws when it does not answer
 */
export async function hasJoinedCluster(host: string, port: number): Promise<boolean> {
  leaveEmptyQueues();
  const admin = new Kafka({
    brokers: [`${host}:${port}`],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 2_000,
    retry: { retries: 0 },
  }).admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    return brokers.some((broker) => broker.port === port);
  } finally {
    await admin.disconnect();
  }
}
