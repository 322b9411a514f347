/**
 * Replaces kafkajs' encoding and decoding of record batches with this project's own; kafkajs keeps
 * connections, groups, metadata and retries. `record-batch.ts` says why; decision 0016 weighs the
 * alternatives.
 */
import type { KafkaMessage } from 'kafkajs';
import Encoder from 'kafkajs/src/protocol/encoder';
import { createErrorFromCode } from 'kafkajs/src/protocol/error';
import fetchDefinition from 'kafkajs/src/protocol/requests/fetch';
import metadataDefinition from 'kafkajs/src/protocol/requests/metadata';
import produceDefinition from 'kafkajs/src/protocol/requests/produce';
import {
  readBatches,
  writeBatch,
  type AbortedTransaction,
  type FetchedBatch,
  type OutgoingRecord,
  type RecordHeader,
} from './record-batch';

/** An offset out of range: its messages were deleted, or the log was truncated or recreated. */
export interface OutOfRange {
  readonly kind: 'out-of-range';
  /** The requested offset. */
  readonly offset: number;
}

/** One partition of a fetch response. */
export interface FetchedPartition {
  readonly partition: number;
  /** Kafka's error code; 0 for none. */
  readonly errorCode: number;
  /** The offset that the next message will get; -1 when the partition has an error. */
  readonly highWatermark: string;
  /** Where an open transaction blocks readers; equals `highWatermark` when none does. */
  readonly lastStableOffset: string;
  /** The first offset that is still there. */
  readonly logStartOffset: string;
  readonly batches: readonly FetchedBatch[];
}

/** A fetch response. */
export interface FetchAnswer {
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly FetchedPartition[];
  }[];
}

/**
 * What a consumer receives as a message: a whole record batch, or an out-of-range offset.
 *
 * @throws when kafkajs decoded it itself, as it does for brokers that are too old
 */
export function batchOf(message: KafkaMessage): FetchedBatch | OutOfRange {
  const { batch } = message as KafkaMessage & { readonly batch?: FetchedBatch | OutOfRange };
  if (batch === undefined) {
    throw new Error(
      `The broker does not know version ${fetchVersion} of the fetch request. Use Kafka 2.3 or later.`,
    );
  }
  return batch;
}

/** The version of the fetch request, supported by brokers since Kafka 2.3. */
export const fetchVersion = 11;

let fetchesBatches = false;
let sendsHeaderLists = false;
let toleratesLeaderless = false;

/**
 * Makes every consumer of this process receive one message for each record batch, with the batch on it
 * (`batchOf`). Batches without records are delivered too, since offsets must be committed past them.
 * Idempotent.
 */
export function fetchWholeBatches(): void {
  if (fetchesBatches) return;
  fetchesBatches = true;
  replaceFetch();
}

/**
 * Lets every producer of this process send headers as a list (`asProducerHeaders`), unchanged.
 * Idempotent.
 */
export function sendHeaderLists(): void {
  if (sendsHeaderLists) return;
  sendsHeaderLists = true;
  replaceProduce();
}

/**
 * Gives a partition without a leader the leader -1 in the metadata of this process, so that only
 * requests for that partition fail. (kafkajs 2.2.4 throws for the whole topic, and for every other
 * topic in the request.) Idempotent.
 */
export function tolerateLeaderlessPartitions(): void {
  if (toleratesLeaderless) return;
  toleratesLeaderless = true;
  const original = metadataDefinition.protocol;
  metadataDefinition.protocol = (choice) => {
    const create = original(choice);
    return (input: never) => {
      const made = create(input);
      const parse = (metadata: never) => made.response.parse(withoutLeaderErrors(metadata));
      return { ...made, response: { ...made.response, parse } };
    };
  };
}

interface Metadata {
  readonly topicMetadata: readonly {
    readonly partitionMetadata: readonly { readonly partitionErrorCode: number }[];
  }[];
}

const leaderNotAvailableCode = 5;

function withoutLeaderErrors(metadata: Metadata): never {
  const topicMetadata = metadata.topicMetadata.map(({ partitionMetadata, ...topic }) => ({
    ...topic,
    partitionMetadata: partitionMetadata.map((partition) =>
      partition.partitionErrorCode === leaderNotAvailableCode
        ? { ...partition, partitionErrorCode: 0 }
        : partition,
    ),
  }));
  return { ...metadata, topicMetadata } as never;
}

interface FetchInput {
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly fetchOffset: string }[];
  }[];
}

function replaceFetch(): void {
  const original = fetchDefinition.protocol;
  fetchDefinition.protocol = (choice) => {
    const create = original(choice);
    if (Number(choice.version) !== fetchVersion) return create;
    return (input: never) => ({
      ...create(input),
      response: {
        decode: (bytes: Buffer) => Promise.resolve(decodeFetch(bytes)),
        parse: async (answer: FetchAnswer) => toConsumer(answer, input),
      },
    });
  };
}

const outOfRangeCode = 1;

/**
 * The response as kafkajs' consumer expects it. A partition's error fails the fetch only when no other
 * partition has data: the others continue, and the next fetch returns the error again.
 */
function toConsumer(answer: FetchAnswer, { topics }: FetchInput) {
  const partitions = answer.responses.flatMap(({ partitions: each }) => each);
  const failed = partitions.find(isFailed);
  if (failed !== undefined && !partitions.some(bringsSomething)) {
    const topic = answer.responses.find(({ partitions: own }) => own.includes(failed))?.topicName;
    throw Object.assign(createErrorFromCode(failed.errorCode), { topic });
  }
  const askedFor = (topic: string, partition: number): number =>
    Number(
      topics
        .filter((each) => each.topic === topic)
        .flatMap((each) => each.partitions)
        .find((each) => each.partition === partition)?.fetchOffset,
    );
  return {
    ...answer,
    responses: answer.responses.map(({ topicName, partitions: own }) => ({
      topicName,
      partitions: own
        .filter((each) => !isFailed(each))
        .map(({ batches, ...each }) => ({
          ...each,
          // Filtered already, by readBatches.
          abortedTransactions: [],
          messages:
            each.errorCode === outOfRangeCode
              ? [toMessage({ kind: 'out-of-range', offset: askedFor(topicName, each.partition) })]
              : batches.map(toMessage),
        })),
    })),
  };
}

function bringsSomething({ batches, errorCode }: FetchedPartition): boolean {
  return batches.length > 0 || errorCode === outOfRangeCode;
}

function isFailed({ errorCode }: FetchedPartition): boolean {
  return errorCode !== 0 && errorCode !== outOfRangeCode;
}

// kafkajs reads only the offset and the control flag; the rest is informational.
function toMessage(batch: FetchedBatch | OutOfRange): object {
  const offset = 'kind' in batch ? batch.offset : batch.lastOffset;
  return { offset: String(offset), isControlRecord: false, key: null, value: null, batch };
}

/** Decodes a fetch response, version 11. */
export function decodeFetch(bytes: Buffer): FetchAnswer {
  const reader = new AnswerReader(bytes);
  reader.readInt32(); // How long the broker wants to be left alone; kafkajs waits for the answer anyway.
  const errorCode = reader.readInt16();
  if (errorCode !== 0) throw createErrorFromCode(errorCode);
  reader.readInt32(); // The fetch session, which kafkajs does not use.
  return {
    responses: reader.readArray(() => ({
      topicName: reader.readString(),
      partitions: reader.readArray(() => readPartition(reader)),
    })),
  };
}

function readPartition(reader: AnswerReader): FetchedPartition {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  const highWatermark = String(reader.readInt64());
  const lastStableOffset = String(reader.readInt64());
  const logStartOffset = String(reader.readInt64());
  const aborted = reader.readArray((): AbortedTransaction => ({
    producerId: reader.readInt64(),
    firstOffset: reader.readInt64(),
  }));
  reader.readInt32(); // A replica that is nearer: the leader is always asked.
  return {
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    logStartOffset,
    batches: readBatches(reader.readBytes(), aborted, Number(highWatermark)),
  };
}

class AnswerReader {
  private position = 0;

  constructor(private readonly bytes: Buffer) {}

  readInt16(): number {
    return this.bytes.readInt16BE(this.advance(2));
  }

  readInt32(): number {
    return this.bytes.readInt32BE(this.advance(4));
  }

  readInt64(): bigint {
    return this.bytes.readBigInt64BE(this.advance(8));
  }

  readString(): string {
    const length = this.readInt16();
    const from = this.advance(length);
    return this.bytes.toString('utf8', from, from + length);
  }

  /** Empty where there are none. */
  readBytes(): Buffer {
    const length = Math.max(this.readInt32(), 0);
    const from = this.advance(length);
    return this.bytes.subarray(from, from + length);
  }

  /** Empty where there is none. */
  readArray<T>(readItem: () => T): T[] {
    return Array.from({ length: Math.max(this.readInt32(), 0) }, readItem);
  }

  private advance(length: number): number {
    const from = this.position;
    this.position += length;
    return from;
  }
}

interface ProduceInput {
  readonly acks: number;
  readonly timeout: number;
  readonly transactionalId?: string | null;
  readonly producerId?: { toString(): string };
  readonly producerEpoch?: number;
  readonly topicData: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly firstSequence?: number;
      readonly messages: readonly SentMessage[];
    }[];
  }[];
}

interface SentMessage {
  readonly key?: Buffer | string | null;
  readonly value: Buffer | string | null;
  readonly headers?: unknown;
}

/** Header lists wrapped for kafkajs' producer, which accepts objects only. */
export function asProducerHeaders(headers: readonly RecordHeader[]): Record<string, never> {
  return headers as unknown as Record<string, never>;
}

function replaceProduce(): void {
  const original = produceDefinition.protocol;
  produceDefinition.protocol = (choice) => {
    const create = original(choice);
    return (input: never) => {
      const made = create(input);
      if (!hasHeaderLists(input)) return made;
      return { ...made, request: { ...made.request, encode: async () => encodeProduce(input) } };
    };
  };
}

function hasHeaderLists({ topicData }: ProduceInput): boolean {
  const messages = topicData.flatMap(({ partitions }) => partitions.map((each) => each.messages));
  return messages.some((each) => each.some(({ headers }) => Array.isArray(headers)));
}

/** Versions from 3 on, which differ in their responses only. */
function encodeProduce({ acks, timeout, transactionalId, topicData, ...producer }: ProduceInput) {
  const timestamp = Date.now();
  const batchProducer = {
    producerId: BigInt(producer.producerId?.toString() ?? -1),
    producerEpoch: producer.producerEpoch ?? 0,
  };
  return new Encoder()
    .writeString(transactionalId ?? null)
    .writeInt16(acks)
    .writeInt32(timeout)
    .writeArray(
      topicData.map(({ topic, partitions }) =>
        new Encoder().writeString(topic).writeArray(
          partitions.map(({ partition, firstSequence = 0, messages }) => {
            const records = messages.map(toRecord);
            const batch = writeBatch(records, timestamp, { ...batchProducer, firstSequence });
            return new Encoder().writeInt32(partition).writeInt32(batch.length).writeBuffer(batch);
          }),
        ),
      ),
    );
}

function toRecord({ key, value, headers }: SentMessage): OutgoingRecord {
  return {
    key: toBuffer(key ?? null),
    value: toBuffer(value),
    headers: Array.isArray(headers) ? (headers as RecordHeader[]) : [],
  };
}

function toBuffer(part: Buffer | string | null): Buffer | null {
  return typeof part === 'string' ? Buffer.from(part) : part;
}
