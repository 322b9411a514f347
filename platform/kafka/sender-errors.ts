/** Why messages were not sent, and which failures concern one partition, one topic or a broker. */
import {
  KafkaJSBrokerNotFound,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
} from 'kafkajs';
import { describeTopicProblem, topicProblemOf, type TopicProblem } from './topic-administration';

/** The brokers cannot be reached or did not acknowledge in time. */
export class KafkaUnavailableError extends Error {
  override readonly name: string = 'KafkaUnavailableError';
  readonly code: 'KAFKA_UNAVAILABLE' | 'TOPIC_UNAVAILABLE' = 'KAFKA_UNAVAILABLE';
}

/**
 * The brokers answer, but the topic or one of its partitions cannot be written to: it is missing,
 * forbidden, without a leader, or has too few in-sync replicas.
 */
export class TopicUnavailableError extends KafkaUnavailableError {
  override readonly name = 'TopicUnavailableError';
  override readonly code = 'TOPIC_UNAVAILABLE';

  constructor(
    readonly topic: string,
    problem: TopicProblem,
    options?: ErrorOptions,
  ) {
    super(`The topic ${topic} ${describeTopicProblem(problem)}`, options);
  }
}

/** The brokers reject a message as too large. */
export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
  readonly code = 'MESSAGE_TOO_LARGE';
}

/** The response lacks the offset of a message: kafkajs may not have sent it at all. */
export class UnacknowledgedMessageError extends Error {
  override readonly name = 'UnacknowledgedMessageError';
  readonly code = 'MESSAGE_UNACKNOWLEDGED';
}

/**
 * How far the failure of a produce request reaches: the whole `topic` with every partition, single
 * `partition`s of the request, messages of a partition that are `too-large` together, or the `broker`.
 */
export type FailureReach = 'topic' | 'partition' | 'too-large' | 'broker';

/** How far a failure of kafkajs' producer reaches. */
export function reachOf(error: unknown): FailureReach {
  const cause = causeOf(error);
  const problem = topicProblemOf(cause);
  if (problem === 'missing' || problem === 'forbidden') return 'topic';
  if (cause instanceof UnacknowledgedMessageError || lacksLeader(cause)) return 'partition';
  if (!(cause instanceof KafkaJSProtocolError)) return 'broker';
  return tooLarge.has(cause.type) ? 'too-large' : 'partition';
}

/** The error of a message that was not acknowledged. */
export function toUnavailableError(topic: string, error: unknown): KafkaUnavailableError {
  if (error instanceof KafkaUnavailableError) return error;
  const problem = topicProblemOf(error) ?? (lacksLeader(causeOf(error)) ? 'leaderless' : undefined);
  if (problem !== undefined) return new TopicUnavailableError(topic, problem, { cause: error });
  return new KafkaUnavailableError('Kafka did not acknowledge the messages. Retry later.', {
    cause: error,
  });
}

const tooLarge = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']);

function causeOf(error: unknown): unknown {
  return error instanceof KafkaJSNumberOfRetriesExceeded ? error.cause : error;
}

// kafkajs reports a missing leader as an unknown broker.
function lacksLeader(error: unknown): boolean {
  return error instanceof KafkaJSBrokerNotFound;
}
