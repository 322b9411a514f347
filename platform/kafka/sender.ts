/**
 * The producer of every event: acks=all, idempotent, and at most one request in flight for each topic.
 * Messages that arrive meanwhile go into the next request (group commit), so a single flight is fast,
 * too.
 *
 * Each topic has its own queue and producer, so that a topic that is missing, forbidden or without a
 * leader does not fail others. Order is guaranteed within a topic, which is more than the order by key
 * that events need; there is none between topics.
 *
 * The single flight is required for safety. When a request fails, kafkajs 2.2.4 reuses its sequence
 * number for the next one before the first is retried: with concurrent sends, acknowledged events are
 * lost and others duplicated, without an error. The change that introduced it questions this itself
 * (https://github.com/tulios/kafkajs/pull/1050).
 */
import {
  KafkaJSBrokerNotFound,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  Partitioners,
  type ICustomPartitioner,
  type Kafka,
  type Message,
  type Producer,
  type RecordMetadata,
} from 'kafkajs';
import { asProducerHeaders, sendHeaderLists } from './protocol';
import type { RecordHeader } from './record-batch';
import { describeTopicProblem, topicProblemOf, type TopicProblem } from './topic-administration';
import type { Logger } from '../observability/logger';
import { createBackoff, pause } from '../process/waiting';
import { kafkaSendDuration, kafkaSendMessages, kafkaSends } from '../observability/telemetry';

/** A message to send. */
export interface OutgoingMessage {
  readonly topic: string;
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** By name or, where names repeat or are not text, as a list that is sent unchanged. */
  readonly headers?: Readonly<Record<string, string>> | readonly RecordHeader[];
}

/** The partition and offset of an acknowledged message. */
export interface Delivery {
  readonly partition: number;
  readonly offset: number;
}

/** Sends the messages of each topic in the order of the calls. */
export interface KafkaSender {
  /**
   * Resolves once all in-sync replicas have all of the messages, each topic's in this order; the
   * deliveries are in the order given. After an error each message may or may not be in its topic; none
   * is in flight any more. Messages to other topics than the failed one were attempted too.
   *
   * @throws TopicUnavailableError retryable; fails fast for a while after the brokers reported it
   * @throws KafkaUnavailableError retryable; fails fast while there is no connection
   * @throws MessageTooLargeError not retryable; messages before it may have been sent, none after it to
   *   its topic
   */
  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]>;
  /**
   * Whether a message to the topic would be sent now instead of failing fast. Without a topic: whether
   * the brokers were reachable when last used, whatever the state of the topics.
   */
  isConnected(topic?: string): boolean;
  /** Flushes the queues, then disconnects. */
  stop(): Promise<void>;
}

/** The brokers cannot be reached or did not acknowledge in time. */
export class KafkaUnavailableError extends Error {
  override readonly name: string = 'KafkaUnavailableError';
  readonly code: 'KAFKA_UNAVAILABLE' | 'TOPIC_UNAVAILABLE' = 'KAFKA_UNAVAILABLE';
}

/**
 * The brokers answer, but the topic cannot be written to: it is missing, forbidden or without a leader.
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

/** The response lacks the offset of a message: kafkajs may not have sent it at all. */
class UnacknowledgedMessageError extends Error {
  override readonly name = 'UnacknowledgedMessageError';
  readonly code = 'MESSAGE_UNACKNOWLEDGED';
}

/** The brokers reject a message as too large. */
export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
  readonly code = 'MESSAGE_TOO_LARGE';
}

export interface KafkaSenderOptions {
  /** Most bytes of keys, values and headers in one request; one message may exceed it alone. */
  readonly maxRequestBytes?: number;
  /** Retries of a request by kafkajs before it fails. */
  readonly retries?: number;
  /** Maximum backoff between two attempts to connect, in ms. */
  readonly maxReconnectDelayMs?: number;
  /** How long sends to a topic fail fast once the brokers reported it unavailable, in ms. */
  readonly topicRetryMs?: number;
}

/** A sender that connects at once, and reconnects with backoff whenever the connection is lost. */
export function createKafkaSender(
  kafka: Kafka,
  logger: Logger,
  options: KafkaSenderOptions = {},
): KafkaSender {
  sendHeaderLists();
  return new SenderByTopic(kafka, logger, {
    maxRequestBytes: options.maxRequestBytes ?? 512 * 1024,
    retries: options.retries ?? 3,
    maxReconnectDelayMs: options.maxReconnectDelayMs ?? 2_000,
    topicRetryMs: options.topicRetryMs ?? 2_000,
  });
}

/** One call of `send`: its messages are sent in order, possibly in several requests. */
interface Submission {
  readonly deliveries: Delivery[];
  readonly size: number;
  failed: boolean;
  resolve(deliveries: Delivery[]): void;
  reject(error: Error): void;
}

interface QueuedMessage {
  readonly submission: Submission;
  readonly topic: string;
  readonly message: Message;
  readonly bytes: number;
}

/** A producer and the partition that it chose for each message, which kafkajs does not report. */
interface Connection {
  readonly producer: Producer;
  readonly partitions: WeakMap<Message, number>;
}

class SenderByTopic implements KafkaSender {
  private readonly senders = new Map<string, SingleFlightSender>();
  /** Connects ahead of the first send; the first topic takes it. */
  private spare: SingleFlightSender | undefined;
  private stopped = false;

  constructor(
    private readonly kafka: Kafka,
    private readonly logger: Logger,
    private readonly options: Required<KafkaSenderOptions>,
  ) {
    this.spare = new SingleFlightSender(kafka, logger, options);
  }

  isConnected(topic?: string): boolean {
    const own = topic === undefined ? undefined : this.senders.get(topic);
    if (own !== undefined) return own.isConnected() && !own.failsFast();
    return this.all().every((sender) => sender.isConnected() || sender.connectsFirst());
  }

  async send(messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    if (this.stopped) throw new KafkaUnavailableError('The sender has stopped.');
    const topics = indexesByTopic(messages);
    const outcomes = await Promise.allSettled(
      [...topics].map(([topic, indexes]) =>
        this.senderOf(topic).send(
          topic,
          indexes.map((index) => messages[index]!),
        ),
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
    await Promise.all(this.all().map((sender) => sender.stop()));
  }

  private senderOf(topic: string): SingleFlightSender {
    const existing = this.senders.get(topic);
    if (existing !== undefined) return existing;
    const sender = this.spare ?? this.addSender();
    this.spare = undefined;
    this.senders.set(topic, sender);
    return sender;
  }

  private addSender(): SingleFlightSender {
    // While Kafka is unavailable, a new topic must not wait for another failing connection.
    const waitForFirstAttempt = this.isConnected();
    return new SingleFlightSender(this.kafka, this.logger, this.options, waitForFirstAttempt);
  }

  private all(): SingleFlightSender[] {
    return [...this.senders.values(), ...(this.spare === undefined ? [] : [this.spare])];
  }
}

/** The producer and queue of one topic. */
class SingleFlightSender {
  private queue: QueuedMessage[] = [];
  private connection: Connection | undefined;
  private readonly stopping = new AbortController();
  private draining: Promise<void> | undefined;
  private connecting: Promise<void> | undefined;
  private lastProblem: { readonly problem: TopicProblem; readonly until: number } | undefined;
  /** Resolves when the first attempt to connect has ended, successful or not; undefined from then on. */
  private firstAttempt: Promise<void> | undefined;
  private endFirstAttempt: () => void = () => undefined;

  /** @param waitForFirstAttempt whether messages wait for the first attempt to connect instead of failing fast */
  constructor(
    private readonly kafka: Kafka,
    private readonly logger: Logger,
    private readonly options: Required<KafkaSenderOptions>,
    waitForFirstAttempt = false,
  ) {
    if (waitForFirstAttempt) {
      this.firstAttempt = new Promise((resolve) => {
        this.endFirstAttempt = () => {
          this.firstAttempt = undefined;
          resolve();
        };
      });
    }
    this.reconnect();
  }

  isConnected(): boolean {
    return this.connection !== undefined;
  }

  /** Whether it is new and no failure of the brokers is known. */
  connectsFirst(): boolean {
    return this.firstAttempt !== undefined;
  }

  /** Whether the brokers have just reported the topic as unavailable. */
  failsFast(): boolean {
    return this.lastProblem !== undefined && Date.now() < this.lastProblem.until;
  }

  async send(topic: string, messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    if (this.firstAttempt !== undefined) await this.firstAttempt;
    if (this.failsFast()) throw new TopicUnavailableError(topic, this.lastProblem!.problem);
    if (this.connection === undefined) {
      throw new KafkaUnavailableError('Kafka unavailable; reconnecting. Retry later.');
    }
    return new Promise((resolve, reject) => {
      const size = messages.length;
      const submission: Submission = { deliveries: [], size, failed: false, resolve, reject };
      for (const message of messages) this.queue.push(toQueued(submission, message));
      this.draining ??= this.drain();
    });
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.connecting;
    // Calls that waited for the first attempt have queued their messages by now.
    await this.draining;
    await this.connection?.producer.disconnect();
    this.connection = undefined;
  }

  private async drain(): Promise<void> {
    // Batches the sends of the current turn into the first request.
    await Promise.resolve();
    try {
      while (this.connection !== undefined && this.queue.length > 0) {
        await this.sendOne(this.connection, this.takeRequest());
      }
    } finally {
      // In the same turn as the check for an empty queue: a message added in between would be stuck.
      this.draining = undefined;
    }
  }

  private takeRequest(): QueuedMessage[] {
    let bytes = 0;
    let count = 0;
    for (const queued of this.queue) {
      if (count > 0 && bytes + queued.bytes > this.options.maxRequestBytes) break;
      bytes += queued.bytes;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  private async sendOne(connection: Connection, batch: QueuedMessage[]): Promise<void> {
    const request = batch.filter(({ submission }) => !submission.failed);
    if (request.length === 0) return;
    try {
      const stopTimer = kafkaSendDuration.startTimer();
      const records = await connection.producer.sendBatch({
        acks: -1,
        topicMessages: [
          { topic: request[0]!.topic, messages: request.map(({ message }) => message) },
        ],
      });
      const deliveries = locate(request, records, connection.partitions);
      stopTimer();
      kafkaSends.inc({ outcome: 'acknowledged' });
      kafkaSendMessages.observe(request.length);
      settle(request, deliveries);
      this.lastProblem = undefined;
    } catch (error) {
      await this.handleFailure(connection, request, error);
    }
  }

  private async handleFailure(
    connection: Connection,
    request: QueuedMessage[],
    error: unknown,
  ): Promise<void> {
    kafkaSends.inc({ outcome: isTooLarge(error) ? 'too_large' : 'failed' });
    if (!isTooLarge(error)) {
      this.loseConnection(connection, request, error);
    } else if (request.length > 1) {
      await this.sendHalves(connection, request, error);
    } else {
      rejectAll(
        request,
        new MessageTooLargeError('Kafka rejects the message as too large.', { cause: error }),
      );
    }
  }

  // kafkajs reuses the sequence numbers of the whole request, also for the partitions that accepted
  // their messages, which would reject everything from then on. A new producer starts with new ones;
  // accepted messages are sent again.
  private async sendHalves(
    connection: Connection,
    request: QueuedMessage[],
    error: unknown,
  ): Promise<void> {
    try {
      await this.replace(connection);
    } catch (replaceError) {
      this.loseConnection(connection, request, replaceError);
      return;
    }
    const middle = Math.ceil(request.length / 2);
    for (const half of [request.slice(0, middle), request.slice(middle)]) {
      if (this.connection === undefined) rejectAll(half, unavailable(error));
      else await this.sendOne(this.connection, half);
    }
  }

  private async replace({ producer }: Connection): Promise<void> {
    const next = createConnection(this.kafka, this.options.retries);
    await next.producer.connect();
    this.connection = next;
    this.discard(producer);
  }

  // Rejects the queue too: sent by the next producer, a later event of a key could overtake an earlier
  // one that has just failed.
  private loseConnection(connection: Connection, request: QueuedMessage[], error: unknown): void {
    this.logger.warn({ err: error, messages: request.length }, 'Kafka send failed; reconnecting');
    rejectAll(
      [...request, ...this.queue.splice(0)],
      this.toUnavailableError(request[0]!.topic, error),
    );
    this.connection = undefined;
    this.discard(connection.producer);
    this.reconnect();
  }

  private toUnavailableError(topic: string, error: unknown): KafkaUnavailableError {
    const problem = topicProblemOf(error) ?? (lacksLeader(error) ? 'leaderless' : undefined);
    if (problem === undefined) return unavailable(error);
    // Fail fast: otherwise each message costs a new producer and all of its retries.
    this.lastProblem = { problem, until: Date.now() + this.options.topicRetryMs };
    return new TopicUnavailableError(topic, problem, { cause: error });
  }

  private discard(producer: Producer): void {
    producer.disconnect().catch((error: unknown) => {
      this.logger.debug({ err: error }, 'replaced Kafka producer did not disconnect cleanly');
    });
  }

  private reconnect(): void {
    if (this.stopping.signal.aborted) return;
    this.connecting = this.connectWithBackoff().finally(() => {
      this.connecting = undefined;
    });
  }

  private async connectWithBackoff(): Promise<void> {
    const { signal } = this.stopping;
    const backoff = createBackoff({ firstMs: 100, longestMs: this.options.maxReconnectDelayMs });
    let told = false;
    while (!signal.aborted) {
      const connection = createConnection(this.kafka, this.options.retries);
      try {
        await connection.producer.connect();
        this.connection = connection;
        this.endFirstAttempt();
        if (told) this.logger.info('Kafka reconnected');
        return;
      } catch (error) {
        if (!told) this.logger.warn({ err: error }, 'Kafka unavailable; reconnecting with backoff');
        told = true;
        this.endFirstAttempt();
        await connection.producer.disconnect().catch((disconnectError: unknown) => {
          this.logger.debug(
            { err: disconnectError },
            'Kafka producer did not disconnect after a failed connect',
          );
        });
        await pause(backoff.next(), signal);
      }
    }
  }
}

function toQueued(
  submission: Submission,
  { topic, key, value, headers = {} }: OutgoingMessage,
): QueuedMessage {
  const list = toHeaderList(headers);
  const bytes = byteLength(key) + byteLength(value) + headerBytes(list);
  const message: Message = { key, value, headers: asProducerHeaders(list) };
  return { submission, topic, message, bytes };
}

function toHeaderList(headers: OutgoingMessage['headers'] & object): readonly RecordHeader[] {
  if (Array.isArray(headers)) return headers as readonly RecordHeader[];
  return Object.entries(headers as Readonly<Record<string, string>>).map(([name, value]) => ({
    name: Buffer.from(name),
    value: Buffer.from(value),
  }));
}

function byteLength(part: string | Buffer | null): number {
  return part === null ? 0 : Buffer.byteLength(part);
}

function headerBytes(headers: readonly RecordHeader[]): number {
  return headers.reduce((sum, { name, value }) => sum + name.length + byteLength(value), 0);
}

function createConnection(kafka: Kafka, retries: number): Connection {
  const partitions = new WeakMap<Message, number>();
  const createPartitioner: ICustomPartitioner = () => {
    const choose = Partitioners.DefaultPartitioner();
    return (choice) => {
      // A retried request must be identical, or the broker cannot detect the duplicate: a message
      // without a key keeps its partition, too.
      const partition = partitions.get(choice.message) ?? choose(choice);
      partitions.set(choice.message, partition);
      return partition;
    };
  };
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    // How soon added partitions get messages. Until all producers know them, messages of one key may go
    // to two partitions.
    metadataMaxAge: 30_000,
    createPartitioner,
    allowAutoTopicCreation: false,
    retry: { retries, initialRetryTime: 200, maxRetryTime: 2_000 },
  });
  return { producer, partitions };
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

/**
 * The brokers return the first offset of each partition; the messages follow in order.
 *
 * @throws UnacknowledgedMessageError when the response lacks a message's partition: kafkajs drops a
 *   partition that moved to another broker between two attempts of one request
 */
function locate(
  request: readonly QueuedMessage[],
  records: readonly RecordMetadata[],
  partitions: WeakMap<Message, number>,
): Delivery[] {
  const next = new Map(
    records.map(({ topicName, partition, baseOffset }) => [
      `${topicName}/${partition}`,
      Number(baseOffset ?? -1),
    ]),
  );
  return request.map(({ topic, message }) => {
    const partition = partitions.get(message);
    const offset = next.get(`${topic}/${partition}`);
    if (partition === undefined || offset === undefined || offset < 0) {
      throw new UnacknowledgedMessageError(
        `The brokers returned no offset in ${topic}/${partition} for the message.`,
      );
    }
    next.set(`${topic}/${partition}`, offset + 1);
    return { partition, offset };
  });
}

function settle(request: readonly QueuedMessage[], deliveries: readonly Delivery[]): void {
  request.forEach(({ submission }, index) => {
    submission.deliveries.push(deliveries[index]!);
    if (submission.deliveries.length === submission.size) submission.resolve(submission.deliveries);
  });
}

function rejectAll(messages: readonly QueuedMessage[], error: Error): void {
  for (const { submission } of messages) {
    submission.failed = true;
    submission.reject(error);
  }
}

function unavailable(cause: unknown): KafkaUnavailableError {
  return new KafkaUnavailableError('Kafka did not acknowledge the messages. Retry later.', {
    cause,
  });
}

// kafkajs reports a missing leader as an unknown broker.
function lacksLeader(error: unknown): boolean {
  const cause = error instanceof KafkaJSNumberOfRetriesExceeded ? error.cause : error;
  return cause instanceof KafkaJSBrokerNotFound;
}

function isTooLarge(error: unknown): boolean {
  const cause = error instanceof KafkaJSNumberOfRetriesExceeded ? error.cause : error;
  return (
    cause instanceof KafkaJSProtocolError &&
    (cause.type === 'MESSAGE_TOO_LARGE' || cause.type === 'RECORD_LIST_TOO_LARGE')
  );
}
