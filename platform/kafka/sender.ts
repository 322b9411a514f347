/**
 * The producer of every event: acks=all, idempotent, and at most one request in flight for each
 * partition. Messages that arrive meanwhile go into the next request (group commit), so a single flight
 * is fast, too.
 *
 * Each topic has its own queue and producers, since kafkajs fails every topic of a client whose metadata
 * has a missing or forbidden one. Within a topic a failure reaches as far as its cause: messages that are
 * too large, a partition, the partitions of a broker, or the topic. Order is guaranteed within a
 * partition, so within a key; there is none between partitions.
 *
 * The single flight is required for safety. When a request fails, kafkajs 2.2.4 reuses its sequence
 * number for the next one before the first is retried: with concurrent sends, acknowledged events are
 * lost and others duplicated, without an error. The change that introduced it questions this itself
 * (https://github.com/tulios/kafkajs/pull/1050).
 */
import type { Logger } from '../observability/logger';
import type { KafkaClient } from './kafkajs';
import { ProducerGenerations } from './producer-generations';
import { sendHeaderLists } from './protocol';
import { SendQueue, type Delivery } from './send-queue';
import { KafkaUnavailableError } from './sender-errors';
import { TopicMetadataReader } from './topic-metadata';
import { TopicSender, type OutgoingMessage } from './topic-sender';

export type { Delivery } from './send-queue';
export {
  KafkaUnavailableError,
  MessageTooLargeError,
  TopicUnavailableError,
} from './sender-errors';
export type { OutgoingMessage } from './topic-sender';

/** Sends the messages of each topic in the order of the calls. */
export interface KafkaSender {
  /**
   * Resolves once all in-sync replicas have all of the messages, each key's in this order; the
   * deliveries are in the order given. After an error each message may or may not be in its topic; none
   * is in flight any more. A call fails as a whole: messages that are not to share their fate go into
   * calls of their own, which cost no requests of their own.
   *
   * @throws TopicUnavailableError retryable; fails fast for a while after the brokers reported it
   * @throws KafkaUnavailableError retryable; fails fast while there is no connection, and behind a request
   *   that has been in flight for long
   * @throws MessageTooLargeError not retryable; other messages of the call may have been sent, none
   *   after it to its partition
   */
  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]>;
  /**
   * Whether a message to some partition of the topic would be sent now instead of failing fast. Without a
   * topic: whether the brokers were reachable when last used, whatever the state of the topics.
   */
  isConnected(topic?: string): boolean;
  /** Flushes the queues, then disconnects. */
  stop(): Promise<void>;
}

export interface KafkaSenderOptions {
  /** Most bytes of keys, values and headers in one request; one message may exceed it alone. */
  readonly maxRequestBytes?: number;
  /** Retries of a request by kafkajs before it fails. */
  readonly retries?: number;
  /** Maximum backoff between two attempts to connect, in ms. */
  readonly maxReconnectDelayMs?: number;
  /**
   * How long the first attempt to connect may take, in ms, before another begins with any of the brokers: a
   * frozen one takes connections and answers nothing. Each attempt may take twice as long as the last.
   */
  readonly connectWithinMs?: number;
  /** How long sends to a topic or partition fail fast once the brokers reported it unavailable, in ms. */
  readonly topicRetryMs?: number;
  /** How long a request may be in flight before sends behind it fail fast, in ms. */
  readonly stalledAfterMs?: number;
}

/** A sender that connects at once, and reconnects with backoff whenever the connection is lost. */
export function createKafkaSender(
  kafka: KafkaClient,
  logger: Logger,
  options: KafkaSenderOptions = {},
): KafkaSender {
  sendHeaderLists();
  return new SenderByTopic(kafka, logger, {
    maxRequestBytes: options.maxRequestBytes ?? 512 * 1024,
    retries: options.retries ?? 3,
    maxReconnectDelayMs: options.maxReconnectDelayMs ?? 2_000,
    connectWithinMs: options.connectWithinMs ?? 4_000,
    topicRetryMs: options.topicRetryMs ?? 2_000,
    stalledAfterMs: options.stalledAfterMs ?? 3_000,
  });
}

class SenderByTopic implements KafkaSender {
  private readonly senders = new Map<string, TopicSender>();
  private readonly metadata: TopicMetadataReader;
  /** Connects ahead of the first send; the first topic takes it. */
  private spare: ProducerGenerations | undefined;
  private stopped = false;

  constructor(
    private readonly kafka: KafkaClient,
    private readonly logger: Logger,
    private readonly options: Required<KafkaSenderOptions>,
  ) {
    this.metadata = new TopicMetadataReader(kafka, logger);
    this.spare = new ProducerGenerations(kafka, logger, options);
  }

  isConnected(topic?: string): boolean {
    const own = topic === undefined ? undefined : this.senders.get(topic);
    if (own !== undefined) return own.isAvailable();
    if (this.spare !== undefined) return this.spare.current() !== undefined;
    return [...this.senders.values()].every((sender) => sender.isReachable());
  }

  async send(messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    if (this.stopped) throw new KafkaUnavailableError('The sender has stopped.');
    const [first] = messages;
    if (first !== undefined && messages.every(({ topic }) => topic === first.topic)) {
      return this.senderOf(first.topic).send(messages);
    }
    const topics = indexesByTopic(messages);
    const outcomes = await Promise.allSettled(
      [...topics].map(([topic, indexes]) =>
        this.senderOf(topic).send(indexes.map((index) => messages[index]!)),
      ),
    );
    throwFirstFailure(outcomes);
    const deliveries: Delivery[] = [];
    [...topics.values()].forEach((indexes, position) => {
      const own = (outcomes[position] as PromiseFulfilledResult<Delivery[]>).value;
      indexes.forEach((index, number) => (deliveries[index] = own[number]!));
    });
    return deliveries;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all([...this.senders.values()].map((sender) => sender.stop()));
    await this.spare?.disconnect();
    this.metadata.drop();
  }

  private senderOf(topic: string): TopicSender {
    const existing = this.senders.get(topic);
    if (existing !== undefined) return existing;
    const { logger, metadata, options } = this;
    const generations = this.spare ?? this.connect();
    this.spare = undefined;
    const queue = new SendQueue(options.maxRequestBytes);
    const sender = new TopicSender(topic, { generations, metadata, queue, logger }, options);
    this.senders.set(topic, sender);
    return sender;
  }

  private connect(): ProducerGenerations {
    // While Kafka is unavailable, a new topic must not wait for another failing connection.
    const outage = this.isConnected()
      ? undefined
      : new KafkaUnavailableError('Kafka was unavailable when last used.');
    return new ProducerGenerations(this.kafka, this.logger, this.options, outage);
  }
}

function indexesByTopic(messages: readonly OutgoingMessage[]): Map<string, number[]> {
  const topics = new Map<string, number[]>();
  messages.forEach(({ topic }, index) => {
    const indexes = topics.get(topic);
    if (indexes === undefined) topics.set(topic, [index]);
    else indexes.push(index);
  });
  return topics;
}

// A permanent error takes precedence over a transient one.
function throwFirstFailure(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const reasons = outcomes.flatMap((each): unknown[] =>
    each.status === 'rejected' ? [each.reason] : [],
  );
  if (reasons.length === 0) return;
  throw reasons.find((each) => !(each instanceof KafkaUnavailableError)) ?? reasons[0];
}
