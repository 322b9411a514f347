/**
 * The messages of one topic on their way to the brokers.
 *
 * Each partition has at most one request in flight, and each leader one for all of its partitions:
 * messages that arrive meanwhile go into the next (group commit). A leader that does not answer holds up
 * its own partitions only. When a request of several partitions fails, each goes again alone, so that one
 * bad partition fails its own messages and no others. Within a partition messages leave in the order of
 * the calls; when one fails, those behind it fail, too, so that none overtakes it.
 */
import { Partitioners, type PartitionMetadata, type RecordMetadata } from 'kafkajs';
import type { Logger } from '../observability/logger';
import { kafkaSendDuration, kafkaSendMessages, kafkaSends } from '../observability/telemetry';
import { withTimeout } from '../process/waiting';
import { asProducerHeaders } from './protocol';
import { partitionOfKey } from './partitioner';
import type { RecordHeader } from './record-batch';
import type { Generation, ProducerGenerations } from './producer-generations';
import {
  Submission,
  type Delivery,
  type Partition,
  type QueuedMessage,
  type SendQueue,
  type SendRequest,
} from './send-queue';
import {
  KafkaUnavailableError,
  MessageTooLargeError,
  reachOf,
  toUnavailableError,
  UnacknowledgedMessageError,
} from './sender-errors';
import type { TopicMetadataReader } from './topic-metadata';

/** A message to send. */
export interface OutgoingMessage {
  readonly topic: string;
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** By name or, where names repeat or are not text, as a list that is sent unchanged. */
  readonly headers?: Readonly<Record<string, string>> | readonly RecordHeader[];
}

export interface TopicSenderOptions {
  /** How long messages are refused after the brokers reported their topic or partition unavailable, in ms. */
  readonly topicRetryMs: number;
  /** How long a request may be in flight before messages behind it are refused, in ms. */
  readonly stalledAfterMs: number;
}

/** What a topic's sender uses. */
export interface TopicSenderDependencies {
  readonly generations: ProducerGenerations;
  readonly metadata: TopicMetadataReader;
  readonly queue: SendQueue;
  readonly logger: Logger;
}

export class TopicSender {
  private readonly chooseWithoutKey = Partitioners.DefaultPartitioner();
  private partitions: readonly PartitionMetadata[] = [];
  private partitionsReadAt = 0;
  private reading: Promise<void> | undefined;
  private refusal: { readonly error: KafkaUnavailableError; readonly until: number } | undefined;
  private isScheduled = false;
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly topic: string,
    private readonly dependencies: TopicSenderDependencies,
    private readonly options: TopicSenderOptions,
  ) {
    dependencies.generations.listen({
      connected: () => this.onConnected(),
      failed: (error) => this.onConnectFailed(error),
    });
  }

  /** Sends the messages, all of them to this topic. See `KafkaSender.send`. */
  send(messages: readonly OutgoingMessage[]): Promise<Delivery[]> {
    const refusal = this.topicRefusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    this.readPartitionsIfStale();
    return new Promise((resolve, reject) => {
      const submission = new Submission(messages.length, resolve, reject);
      const queued = messages.map((each, index) => toQueued(submission, each, index));
      for (const each of queued) this.dependencies.queue.add(each);
      if (this.partitions.length > 0) this.assign(queued);
      this.schedule();
    });
  }

  /** Whether a message to any of its partitions would be sent now. */
  isAvailable(): boolean {
    return this.topicRefusal() === undefined && this.isReachable();
  }

  /** Whether a broker was reachable when last used, whatever the state of the topic. */
  isReachable(): boolean {
    const { generations, queue } = this.dependencies;
    if (generations.current() === undefined) return !generations.isFailing();
    const isOut = (partition: Partition): boolean =>
      partition.outage !== undefined && this.isCutOff(partition);
    return queue.all.length === 0 || !queue.all.every(isOut);
  }

  /** Returns once everything queued is settled. What waits for a connection by then is refused. */
  async stop(): Promise<void> {
    const { generations, queue } = this.dependencies;
    await generations.stopConnecting();
    const reason = new Error('The sender stops.');
    if (generations.current() === undefined) this.onConnectFailed(reason);
    // No later producer comes that could carry them.
    this.rejectWaiting(
      ({ partition }) => partition !== undefined && this.isCutOff(partition),
      toUnavailableError(this.topic, reason),
    );
    if (!queue.isEmpty) await new Promise<void>((resolve) => (this.onIdle = resolve));
    await generations.disconnect();
  }

  // Puts everything that is handed over in the present turn into the first request.
  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    queueMicrotask(() => {
      this.isScheduled = false;
      this.startRequests();
    });
  }

  private startRequests(): void {
    const { generations, queue } = this.dependencies;
    const generation = generations.current();
    if (generation !== undefined) {
      for (;;) {
        const request = queue.take(generation.number);
        if (request === undefined) break;
        void this.run(request, generation);
      }
    }
    if (queue.isEmpty) this.onIdle?.();
  }

  private async run(request: SendRequest, generation: Generation): Promise<void> {
    const { generations, queue } = this.dependencies;
    const stall = setTimeout(() => this.refuseBehind(request), this.options.stalledAfterMs);
    generations.use(generation);
    try {
      const stopTimer = kafkaSendDuration.startTimer();
      const records = await generation.producer.sendBatch({
        acks: -1,
        topicMessages: [
          {
            topic: this.topic,
            messages: request.messages.map(({ message, partition }) => ({
              ...message,
              partition: partition!.id,
            })),
          },
        ],
      });
      stopTimer();
      queue.land(request);
      this.accept(request, generation, records);
    } catch (error) {
      queue.land(request);
      this.handleFailure(request, request.messages, generation, error);
    } finally {
      clearTimeout(stall);
      generations.release(generation);
      this.schedule();
    }
  }

  private accept(
    request: SendRequest,
    generation: Generation,
    records: readonly RecordMetadata[],
  ): void {
    const { located, missing } = locate(this.topic, request.messages, records);
    for (const { partition, submission, index, delivery } of located) {
      partition!.suspects = Math.max(0, partition!.suspects - 1);
      submission.deliver(index, delivery);
    }
    for (const partition of new Set(located.map((each) => each.partition!))) recover(partition);
    if (missing.length > 0) {
      const text = `The brokers returned no offset in ${this.topic} for ${missing.length} messages.`;
      const error = new UnacknowledgedMessageError(text);
      this.handleFailure(request, missing, generation, error);
      return;
    }
    kafkaSends.inc({ outcome: 'acknowledged' });
    kafkaSendMessages.observe(request.messages.length);
  }

  private handleFailure(
    request: SendRequest,
    messages: readonly QueuedMessage[],
    generation: Generation,
    error: unknown,
  ): void {
    const reach = reachOf(error);
    kafkaSends.inc({ outcome: reach === 'too-large' ? 'too_large' : 'failed' });
    const partitions = new Set(messages.map(({ partition }) => partition!));
    for (const partition of partitions) {
      partition.afterGeneration = Math.max(partition.afterGeneration, generation.number);
    }
    if (reach === 'topic') this.refuseTopic(messages, error);
    else if (reach === 'broker') this.refuseBroker(partitions, messages, generation, error);
    else if (request.partitions.size > 1) this.sendAlone(partitions, messages, error);
    else if (reach === 'too-large') this.sendFewer([...partitions][0]!, messages, error);
    else this.refusePartition([...partitions][0]!, messages, error);
    if (reach === 'topic') this.partitionsReadAt = 0;
    else this.readPartitions();
    // Last: it may report at once that it cannot connect.
    this.dependencies.generations.replace(generation);
  }

  private refuseTopic(messages: readonly QueuedMessage[], error: unknown): void {
    const reason = this.warn(error, messages.length);
    this.refusal = { error: reason, until: Date.now() + this.options.topicRetryMs };
    this.reject(messages, reason);
    this.rejectWaiting(() => true, reason);
  }

  // The leader of these partitions leads others, too, which would run into the same failure.
  private refuseBroker(
    partitions: ReadonlySet<Partition>,
    messages: readonly QueuedMessage[],
    generation: Generation,
    error: unknown,
  ): void {
    const reason = this.warn(error, messages.length);
    const leaders = new Set([...partitions].map(({ leader }) => leader));
    const led = this.dependencies.queue.all.filter(({ leader }) => leaders.has(leader));
    for (const partition of new Set([...partitions, ...led])) {
      partition.afterGeneration = Math.max(partition.afterGeneration, generation.number);
      partition.suspects = 0;
      partition.outage = reason;
    }
    this.reject(messages, reason);
    this.rejectWaiting(({ partition }) => partition?.outage === reason, reason);
  }

  private sendAlone(
    partitions: ReadonlySet<Partition>,
    messages: readonly QueuedMessage[],
    error: unknown,
  ): void {
    this.dependencies.logger.info(
      { err: error, topic: this.topic, partitions: [...partitions].map(({ id }) => id) },
      'Kafka send failed; sending each partition alone',
    );
    for (const partition of partitions) partition.isAlone = true;
    this.sendAgain(messages);
  }

  private sendFewer(
    partition: Partition,
    messages: readonly QueuedMessage[],
    error: unknown,
  ): void {
    if (messages.length > 1) {
      partition.isAlone = true;
      partition.limit = Math.ceil(messages.length / 2);
      this.sendAgain(messages);
      return;
    }
    partition.limit = Infinity;
    partition.suspects = Math.max(0, partition.suspects - 1);
    const reason = new MessageTooLargeError('Kafka rejects the message as too large.', {
      cause: error,
    });
    this.reject(messages, reason);
  }

  private refusePartition(
    partition: Partition,
    messages: readonly QueuedMessage[],
    error: unknown,
  ): void {
    const reason = this.warn(error, messages.length, partition.id);
    partition.isAlone = true;
    partition.suspects = 0;
    partition.refusal = { error: reason, until: Date.now() + this.options.topicRetryMs };
    this.reject(messages, reason);
    this.rejectWaiting((each) => each.partition === partition, reason);
  }

  private sendAgain(messages: readonly QueuedMessage[]): void {
    for (const { partition } of messages) partition!.suspects = 0;
    for (const { partition } of messages) partition!.suspects += 1;
    this.dependencies.queue.putBack(messages);
  }

  private refuseBehind(request: SendRequest): void {
    request.isStalled = true;
    const { queue } = this.dependencies;
    const behind = (partition: Partition | undefined): boolean =>
      partition !== undefined && queue.requestAhead(partition) === request;
    this.rejectWaiting(({ partition }) => behind(partition), this.stalled());
  }

  private stalled(): KafkaUnavailableError {
    return new KafkaUnavailableError(
      `A request to ${this.topic} has been in flight for over ${this.options.stalledAfterMs} ms. Retry later.`,
    );
  }

  private onConnected(): void {
    for (const partition of this.dependencies.queue.all) partition.outage = undefined;
    this.schedule();
  }

  private onConnectFailed(cause: unknown): void {
    const { queue } = this.dependencies;
    const reason = reconnecting(cause);
    for (const partition of queue.all) {
      if (this.isCutOff(partition)) partition.outage = reason;
    }
    this.rejectWaiting(
      ({ partition }) => partition === undefined || this.isCutOff(partition),
      reason,
    );
    if (queue.isEmpty) this.onIdle?.();
  }

  /** Whether the partition's messages need a producer that is not there. */
  private isCutOff(partition: Partition): boolean {
    return partition.afterGeneration >= (this.dependencies.generations.current()?.number ?? 0);
  }

  private topicRefusal(): KafkaUnavailableError | undefined {
    if (this.refusal !== undefined && Date.now() < this.refusal.until) return this.refusal.error;
    const { generations } = this.dependencies;
    if (generations.current() === undefined && generations.isFailing()) {
      return reconnecting();
    }
    return undefined;
  }

  private partitionRefusal(partition: Partition): KafkaUnavailableError | undefined {
    const { refusal, outage } = partition;
    if (refusal !== undefined && Date.now() < refusal.until) return refusal.error;
    if (outage !== undefined && this.isCutOff(partition)) return outage;
    const ahead = this.dependencies.queue.requestAhead(partition);
    return ahead?.isStalled ? this.stalled() : undefined;
  }

  private readPartitionsIfStale(): void {
    if (Date.now() - this.partitionsReadAt > partitionsKnownMs) this.readPartitions();
  }

  private readPartitions(): void {
    this.reading ??= this.readPartitionsOnce().finally(() => {
      this.reading = undefined;
      this.schedule();
    });
  }

  private async readPartitionsOnce(): Promise<void> {
    const { metadata, queue, logger } = this.dependencies;
    try {
      this.partitions = await withTimeout(metadata.read(this.topic), metadataTimeoutMs);
      this.partitionsReadAt = Date.now();
      for (const { partitionId, leader } of this.partitions) {
        queue.partition(partitionId, leader).leader = leader;
      }
    } catch (error) {
      const isAboutTopic = reachOf(error) === 'topic';
      if (isAboutTopic) {
        this.refuseTopic([], error);
      } else {
        metadata.drop();
        logger.info({ err: error, topic: this.topic }, 'Kafka metadata cannot be read');
        this.rejectWaiting(
          ({ partition }) => partition === undefined,
          toUnavailableError(this.topic, error),
        );
      }
    }
    this.assign(queue.unassigned());
  }

  private assign(messages: readonly QueuedMessage[]): void {
    const { queue } = this.dependencies;
    for (const each of messages) each.partition = this.partitionOf(each);
    for (const partition of new Set(messages.map((each) => each.partition!))) {
      const reason = this.partitionRefusal(partition);
      if (reason !== undefined) {
        this.reject(
          queue.remove((each) => each.partition === partition),
          reason,
        );
      }
    }
  }

  private partitionOf({ message }: QueuedMessage): Partition {
    const { topic, partitions } = this;
    const { queue } = this.dependencies;
    if (message.key !== null && message.key !== undefined) {
      return queue.partition(partitionOfKey(message.key, partitions.length), -1);
    }
    // A message without a key goes to a partition that takes it.
    const partitionMetadata = partitions.map((each) => {
      const partition = queue.partition(each.partitionId, each.leader);
      return this.partitionRefusal(partition) === undefined ? each : { ...each, leader: -1 };
    });
    return queue.partition(this.chooseWithoutKey({ topic, partitionMetadata, message }), -1);
  }

  private rejectWaiting(condition: (message: QueuedMessage) => boolean, reason: Error): void {
    this.reject(this.dependencies.queue.remove(condition), reason);
  }

  private reject(messages: readonly QueuedMessage[], reason: Error): void {
    for (const each of messages) each.submission.fail(reason);
    // What follows a failed message in its call and partition is not sent, so that nothing overtakes it.
    const failed = new Map(messages.map(({ submission, partition }) => [submission, partition]));
    const followers = this.dependencies.queue.remove(
      ({ submission, partition }) => failed.has(submission) && failed.get(submission) === partition,
    );
    for (const { submission } of followers) submission.fail(reason);
  }

  private warn(error: unknown, messages: number, partition?: number): KafkaUnavailableError {
    const { topic } = this;
    this.dependencies.logger.warn(
      { err: error, topic, messages, ...(partition === undefined ? {} : { partition }) },
      'Kafka send failed; its messages are refused until a retry',
    );
    return toUnavailableError(topic, error);
  }
}

function reconnecting(cause?: unknown): KafkaUnavailableError {
  return new KafkaUnavailableError('Kafka unavailable; reconnecting. Retry later.', { cause });
}

/** How soon added partitions get messages, in ms. */
const partitionsKnownMs = 30_000;
const metadataTimeoutMs = 5_000;

/** A partition whose messages were acknowledged takes messages with the others again. */
function recover(partition: Partition): void {
  partition.refusal = undefined;
  partition.outage = undefined;
  if (partition.suspects > 0) {
    partition.limit *= 2;
    return;
  }
  partition.limit = Infinity;
  partition.isAlone = false;
}

/** The brokers return the first offset of each partition; the messages follow in order. */
function locate(
  topic: string,
  messages: readonly QueuedMessage[],
  records: readonly RecordMetadata[],
): {
  located: (QueuedMessage & { readonly delivery: Delivery })[];
  /** kafkajs drops a partition that moved to another broker between two attempts of one request. */
  missing: QueuedMessage[];
} {
  const next = new Map(
    records
      .filter(({ topicName, baseOffset }) => topicName === topic && Number(baseOffset ?? -1) >= 0)
      .map(({ partition, baseOffset }) => [partition, Number(baseOffset)]),
  );
  const located: (QueuedMessage & { readonly delivery: Delivery })[] = [];
  const missing: QueuedMessage[] = [];
  for (const each of messages) {
    const { id } = each.partition!;
    const offset = next.get(id);
    if (offset === undefined) {
      missing.push(each);
      continue;
    }
    next.set(id, offset + 1);
    located.push({ ...each, delivery: { partition: id, offset } });
  }
  return { located, missing };
}

function toQueued(
  submission: Submission,
  { key, value, headers = {} }: OutgoingMessage,
  index: number,
): QueuedMessage {
  const list = toHeaderList(headers);
  const bytes = byteLength(key) + byteLength(value) + headerBytes(list);
  const message = { key, value, headers: asProducerHeaders(list) };
  return { submission, index, message, bytes, partition: undefined };
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
