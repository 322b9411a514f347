/**
 * The producer of every event: acknowledged by all replicas in sync, idempotent, and with one request
 * under way at a time, ever. Whatever is handed over meanwhile goes into the next request (group
 * commit), so a single flight is also the fast way.
 *
 * The single flight is what makes it safe. When a request fails, kafkajs 2.2.4 takes its sequence
 * number back and lets the next one have it before the first is tried again: with concurrent sends,
 * acknowledged events get lost and others doubled, without an error. The change that made it so
 * wonders whether to take the number back (https://github.com/tulios/kafkajs/pull/1050).
 */
import {
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  Partitioners,
  type ICustomPartitioner,
  type Kafka,
  type Message,
  type Producer,
  type RecordMetadata,
} from 'kafkajs';
import { asProducerHeaders, sendHeaderLists } from './kafka-protocol';
import type { RecordHeader } from './kafka-record-batch';
import type { Logger } from './logger';
import { kafkaSendDuration, kafkaSendMessages, kafkaSends } from './telemetry';

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

/** Sends messages in the order in which they are handed over. */
export interface KafkaSender {
  /**
   * Resolves once all replicas in sync have all of the messages, in this order; where each went is
   * answered in the same order. After an error each of them may or may not be in the topic.
   *
   * @throws KafkaUnavailableError a later retry can help; at once while there is no connection
   * @throws MessageTooLargeError a retry cannot help; messages before it may have been sent, none after it
   */
  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]>;
  /** Whether a message handed over now would be tried at once. */
  isConnected(): boolean;
  /** Sends what was handed over, then disconnects. */
  stop(): Promise<void>;
}

/** The brokers cannot be reached or did not acknowledge in time. */
export class KafkaUnavailableError extends Error {
  override readonly name = 'KafkaUnavailableError';
  readonly code = 'KAFKA_UNAVAILABLE';
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
}

/** A sender that connects at once and, whenever the connection is lost, again and again. */
export function createKafkaSender(
  kafka: Kafka,
  logger: Logger,
  options: KafkaSenderOptions = {},
): KafkaSender {
  sendHeaderLists();
  return new SingleFlightSender(kafka, logger, {
    maxRequestBytes: options.maxRequestBytes ?? 512 * 1024,
    retries: options.retries ?? 3,
    maxReconnectDelayMs: options.maxReconnectDelayMs ?? 2_000,
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

class SingleFlightSender implements KafkaSender {
  private queue: QueuedMessage[] = [];
  private connection: Connection | undefined;
  private stopped = false;
  private draining: Promise<void> | undefined;
  private connecting: Promise<void> | undefined;
  private wakeFromBackoff: (() => void) | undefined;

  constructor(
    private readonly kafka: Kafka,
    private readonly logger: Logger,
    private readonly options: Required<KafkaSenderOptions>,
  ) {
    this.reconnect();
  }

  isConnected(): boolean {
    return this.connection !== undefined;
  }

  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    if (messages.length === 0) return Promise.resolve([]);
    if (this.stopped) return Promise.reject(new KafkaUnavailableError('The sender has stopped.'));
    if (this.connection === undefined) {
      return Promise.reject(
        new KafkaUnavailableError('Not connected to Kafka; reconnecting. Try again later.'),
      );
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
    await Promise.all([this.draining, this.connecting]);
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
        topicMessages: byTopic(request),
      });
      stopTimer();
      kafkaSends.inc({ outcome: 'acknowledged' });
      kafkaSendMessages.observe(request.length);
      settle(request, locate(request, records, connection.partitions));
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
    rejectAll([...request, ...this.queue.splice(0)], unavailable(error));
    this.connection = undefined;
    this.discard(connection.producer);
    this.reconnect();
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
        if (told) this.logger.info('connected to Kafka again');
        return;
      } catch (error) {
        if (!told)
          this.logger.warn({ err: error }, 'Kafka is away; trying to connect again and again');
        told = true;
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
    createPartitioner,
    allowAutoTopicCreation: false,
    retry: { retries, initialRetryTime: 200, maxRetryTime: 2_000 },
  });
  return { producer, partitions };
}

function byTopic(request: readonly QueuedMessage[]): { topic: string; messages: Message[] }[] {
  const topics = new Map<string, Message[]>();
  for (const { topic, message } of request) {
    const messages = topics.get(topic);
    if (messages === undefined) topics.set(topic, [message]);
    else messages.push(message);
  }
  return [...topics].map(([topic, messages]) => ({ topic, messages }));
}

// The brokers answer the first offset of each partition; within it, messages follow in their order.
function locate(
  request: readonly QueuedMessage[],
  records: readonly RecordMetadata[],
  partitions: WeakMap<Message, number>,
): Delivery[] {
  const next = new Map(
    records.map(({ topicName, partition, baseOffset }) => [
      `${topicName}/${partition}`,
      Number(baseOffset),
    ]),
  );
  return request.map(({ topic, message }) => {
    const partition = partitions.get(message) ?? -1;
    const offset = next.get(`${topic}/${partition}`) ?? -1;
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

function isTooLarge(error: unknown): boolean {
  const cause = error instanceof KafkaJSNumberOfRetriesExceeded ? error.cause : error;
  return (
    cause instanceof KafkaJSProtocolError &&
    (cause.type === 'MESSAGE_TOO_LARGE' || cause.type === 'RECORD_LIST_TOO_LARGE')
  );
}
