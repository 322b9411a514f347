/**
 * The producer of every event: acknowledged by all replicas in sync, idempotent, and with one request
 * under way at a time for each topic, ever. Whatever is handed over meanwhile goes into the next
 * request (group commit), so a single flight is also the fast way.
 *
 * Each topic has a queue and a producer of its own, so that one that is missing, forbidden or without
 * a leader fails nobody else's messages. Order is promised within a topic, which is more than the
 * order within a key that events need; between topics there never was any.
 *
 * The single flight is what makes it safe. When a request fails, kafkajs 2.2.4 takes its sequence
 * number back and lets the next one have it before the first is tried again: with concurrent sends,
 * acknowledged events get lost and others doubled, without an error. The change that made it so
 * wonders whether to take the number back (https://github.com/tulios/kafkajs/pull/1050).
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
import { kafkaSendDuration, kafkaSendMessages, kafkaSends } from '../observability/telemetry';

/** A message to be sent. */
export interface OutgoingMessage {
  readonly topic: string;
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** By name or, where names repeat or are no text, as a list that is sent as it is. */
  readonly headers?: Readonly<Record<string, string>> | readonly RecordHeader[];
}

/** Where the brokers have put a message. */
export interface Delivery {
  readonly partition: number;
  readonly offset: number;
}

/** Sends messages of each topic in the order in which they are handed over. */
export interface KafkaSender {
  /**
   * Resolves once all replicas in sync have all of the messages, each topic's in this order; where
   * each went is answered in the order given. After an error each of them may or may not be in its
   * topic; none is under way any more. Those of other topics than the one that failed were tried too.
   *
   * @throws TopicUnavailableError a later retry can help; for a while after the brokers have said so at once
   * @throws KafkaUnavailableError a later retry can help; at once while there is no connection
   * @throws MessageTooLargeError a retry cannot help; messages before it may have been sent, none
   * after it to its topic
   */
  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]>;
  /**
   * Whether a message to the topic that is handed over now would be tried at once. Without a topic:
   * whether the brokers were there when they were last needed, whatever they say about a topic.
   */
  isConnected(topic?: string): boolean;
  /** Sends what was handed over, then disconnects. */
  stop(): Promise<void>;
}

/** The brokers cannot be reached or did not acknowledge in time. */
export class KafkaUnavailableError extends Error {
  override readonly name: string = 'KafkaUnavailableError';
  readonly code: 'KAFKA_UNAVAILABLE' | 'TOPIC_UNAVAILABLE' = 'KAFKA_UNAVAILABLE';
}

/** The brokers are there, and one topic cannot be written to: it is missing, forbidden or without a leader. */
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

/** The brokers have answered, but not said where a message is: kafkajs may not have sent it at all. */
class UnacknowledgedMessageError extends Error {
  override readonly name = 'UnacknowledgedMessageError';
  readonly code = 'MESSAGE_UNACKNOWLEDGED';
}

/** The brokers refuse a message for its size. */
export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
  readonly code = 'MESSAGE_TOO_LARGE';
}

/** Options of the sender. */
export interface KafkaSenderOptions {
  /** Most bytes of keys, values and headers in one request; one message may exceed it alone. */
  readonly maxRequestBytes?: number;
  /** How often kafkajs tries a request again before it counts as failed. */
  readonly retries?: number;
  /** Longest wait between two attempts to connect, in ms. */
  readonly maxReconnectDelayMs?: number;
  /** For how long messages to a topic are refused once the brokers have said that it is unavailable, in ms. */
  readonly topicRetryMs?: number;
}

/** A sender that connects at once and, whenever the connection is lost, again and again. */
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

/** One call of `send`: its messages leave in order, possibly over several requests. */
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

/** A producer and the partition that it chose for each message, which kafkajs itself does not tell. */
interface Connection {
  readonly producer: Producer;
  readonly partitions: WeakMap<Message, number>;
}

class SenderByTopic implements KafkaSender {
  private readonly senders = new Map<string, SingleFlightSender>();
  /** Connects before anybody knows what is to be sent; the first topic takes it. */
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
    if (own !== undefined) return own.isConnected() && !own.isHeldBack();
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
    // While the brokers are away, nobody is to wait for one more connection that fails.
    const patient = this.isConnected();
    return new SingleFlightSender(this.kafka, this.logger, this.options, patient);
  }

  private all(): SingleFlightSender[] {
    return [...this.senders.values(), ...(this.spare === undefined ? [] : [this.spare])];
  }
}

/** One producer and its queue. It is given the messages of one topic. */
class SingleFlightSender {
  private queue: QueuedMessage[] = [];
  private connection: Connection | undefined;
  private stopped = false;
  private draining: Promise<void> | undefined;
  private connecting: Promise<void> | undefined;
  private wakeFromBackoff: (() => void) | undefined;
  private refusal: { readonly problem: TopicProblem; readonly until: number } | undefined;
  /** Resolves when the first try to connect has ended, well or not; undefined from then on. */
  private firstTry: Promise<void> | undefined;
  private endFirstTry: () => void = () => undefined;

  /** @param patient whether messages wait for the first try to connect instead of being refused */
  constructor(
    private readonly kafka: Kafka,
    private readonly logger: Logger,
    private readonly options: Required<KafkaSenderOptions>,
    patient = false,
  ) {
    if (patient) {
      this.firstTry = new Promise((resolve) => {
        this.endFirstTry = () => {
          this.firstTry = undefined;
          resolve();
        };
      });
    }
    this.reconnect();
  }

  isConnected(): boolean {
    return this.connection !== undefined;
  }

  /** Whether it is new and nothing is known against the brokers. */
  connectsFirst(): boolean {
    return this.firstTry !== undefined;
  }

  /** Whether the brokers have just said that the topic is unavailable. */
  isHeldBack(): boolean {
    return this.refusal !== undefined && Date.now() < this.refusal.until;
  }

  async send(topic: string, messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    if (this.firstTry !== undefined) await this.firstTry;
    if (this.isHeldBack()) throw new TopicUnavailableError(topic, this.refusal!.problem);
    if (this.connection === undefined) {
      throw new KafkaUnavailableError('Not connected to Kafka; reconnecting. Try again later.');
    }
    return new Promise((resolve, reject) => {
      const size = messages.length;
      const submission: Submission = { deliveries: [], size, failed: false, resolve, reject };
      for (const message of messages) this.queue.push(toQueued(submission, message));
      this.draining ??= this.drain();
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.wakeFromBackoff?.();
    await this.connecting;
    // What waited for the first try is handed over by now.
    await this.draining;
    await this.connection?.producer.disconnect();
    this.connection = undefined;
  }

  private async drain(): Promise<void> {
    // Let the callers of this moment come along in the first request.
    await Promise.resolve();
    try {
      while (this.connection !== undefined && this.queue.length > 0) {
        await this.sendOne(this.connection, this.takeRequest());
      }
    } finally {
      // In the same turn in which the queue was seen empty: a message that came between the two
      // would be left in it.
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
      this.refusal = undefined;
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
        new MessageTooLargeError('Kafka refuses the message for its size.', { cause: error }),
      );
    }
  }

  // kafkajs takes back its sequence numbers for the whole request, also for the partitions whose
  // messages the broker has taken, and would from then on be refused there. A new producer starts
  // anew; what had been taken is sent once more.
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

  // What waits in the queue is refused too: were it sent by the next producer, a later event of a
  // key could get ahead of an earlier one that has just failed.
  private loseConnection(connection: Connection, request: QueuedMessage[], error: unknown): void {
    this.logger.warn(
      { err: error, messages: request.length },
      'sending to Kafka failed; reconnecting',
    );
    rejectAll([...request, ...this.queue.splice(0)], this.toRefusal(request[0]!.topic, error));
    this.connection = undefined;
    this.discard(connection.producer);
    this.reconnect();
  }

  private toRefusal(topic: string, error: unknown): KafkaUnavailableError {
    const problem = topicProblemOf(error) ?? (lacksLeader(error) ? 'leaderless' : undefined);
    if (problem === undefined) return unavailable(error);
    // Otherwise each message would cost the brokers a new producer and all of its retries.
    this.refusal = { problem, until: Date.now() + this.options.topicRetryMs };
    return new TopicUnavailableError(topic, problem, { cause: error });
  }

  private discard(producer: Producer): void {
    producer.disconnect().catch((error: unknown) => {
      this.logger.debug({ err: error }, 'a producer that was replaced did not disconnect cleanly');
    });
  }

  private reconnect(): void {
    if (this.stopped) return;
    this.connecting = this.connectPatiently().finally(() => {
      this.connecting = undefined;
    });
  }

  private async connectPatiently(): Promise<void> {
    let told = false;
    for (
      let delayMs = 100;
      !this.stopped;
      delayMs = Math.min(delayMs * 2, this.options.maxReconnectDelayMs)
    ) {
      const connection = createConnection(this.kafka, this.options.retries);
      try {
        await connection.producer.connect();
        this.connection = connection;
        this.endFirstTry();
        if (told) this.logger.info('connected to Kafka again');
        return;
      } catch (error) {
        if (!told)
          this.logger.warn({ err: error }, 'Kafka is away; trying to connect again and again');
        told = true;
        this.endFirstTry();
        await connection.producer.disconnect().catch((disconnectError: unknown) => {
          this.logger.debug(
            { err: disconnectError },
            'the unconnected producer did not disconnect',
          );
        });
        await this.backOff(delayMs);
      }
    }
  }

  private async backOff(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delayMs);
      this.wakeFromBackoff = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.stopped) this.wakeFromBackoff();
    });
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
      // A request that is made again must be the same one, or the broker cannot tell that it is: also
      // a message without a key goes where it went before.
      const partition = partitions.get(choice.message) ?? choose(choice);
      partitions.set(choice.message, partition);
      return partition;
    };
  };
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    // So soon partitions that were added get messages. Until all producers know of them, those of one
    // key may go to two partitions.
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

// One that no retry can help says more than one that will pass.
function throwFirstFailure(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const reasons = outcomes.flatMap((each): unknown[] =>
    each.status === 'rejected' ? [each.reason] : [],
  );
  if (reasons.length === 0) return;
  throw reasons.find((each) => !(each instanceof KafkaUnavailableError)) ?? reasons[0];
}

/**
 * The brokers answer the first offset of each partition; within it, messages follow in their order.
 *
 * @throws UnacknowledgedMessageError when the answer does not name a message's partition: kafkajs
 * leaves a partition out that has moved to another broker between two tries of one request
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
        `The brokers' answer does not say where in ${topic}/${partition} the message is.`,
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
  return new KafkaUnavailableError('Kafka did not acknowledge the messages. Try again later.', {
    cause,
  });
}

// The leader of a partition that has none is a broker that nobody knows.
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
