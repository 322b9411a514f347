/**
 * Record batches of every kind that a producer may send, on every partition of both topics, each with
 * healthy events right behind it; and the books of what may and what may not be logged of them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import {
  CompressionCodecs,
  CompressionTypes,
  ConfigResourceTypes,
  type Admin,
  type Kafka,
  type Message,
  type Producer,
  type ProducerConfig,
} from 'kafkajs';
import { compressFrameSync } from 'lz4-napi';
import { compressSync } from 'snappy';
import { eventTopics, partitionsPerTopic } from '../../events/topics';
import { asProducerHeaders, sendHeaderLists } from '../../platform/kafka/protocol';
import { maxDecompressedBytes, type RecordHeader } from '../../platform/kafka/record-batch';
import { foreignEvent, messageOf, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import type { FaultContext } from './faults';

type Context = Pick<FaultContext, 'stack' | 'ledger' | 'poison' | 'random'>;

/** A partition, and what sends to it. */
interface Target {
  readonly topic: string;
  readonly partition: number;
  readonly producer: Producer;
  readonly context: Context;
}

/** Sends one batch of each kind to every partition, and the few that cost much to one of each topic. */
export async function sendHostileBatches(context: Context): Promise<void> {
  const { kafka } = context.stack;
  registerCodecs();
  sendHeaderLists();
  await raiseMessageLimit(kafka);
  await withProducer(kafka, {}, async (producer) => {
    for (const topic of eventTopics) {
      const dear = context.random.below(partitionsPerTopic);
      for (let partition = 0; partition < partitionsPerTopic; partition += 1) {
        const target = { topic, partition, producer, context };
        const kinds = partition === dear ? [...eachPartition, ...onePartition] : eachPartition;
        for (const send of context.random.shuffle(kinds)) {
          await send(target);
          await sendHealthy(target);
        }
      }
    }
  });
}

type Send = (target: Target) => Promise<void>;

const eachPartition: readonly Send[] = [
  compressed(CompressionTypes.GZIP),
  compressed(CompressionTypes.Snappy),
  compressed(CompressionTypes.LZ4),
  compressed(CompressionTypes.ZSTD),
  withStrangeHeaders,
  abortedTransaction,
  overlappingTransactions,
  notAnEvent,
];

const onePartition: readonly Send[] = [withManyHeaders, tooLargeForTemporal, decompressionBomb];

/** An event that may go to this topic, in the books as one that must be logged. */
function healthyEvent({ topic, context: { ledger } }: Target): ForeignEvent {
  const event = strangersEvent(topic);
  ledger.strangersEvents.add(event.id);
  return event;
}

function strangersEvent(topic: string): ForeignEvent {
  if (topic === 'catalog-events') return viewed('seen-by-strangers');
  const orderId = randomUUID();
  return foreignEvent('PaymentFailed', orderId, { orderId, amount: 1, reason: 'declined' });
}

/** The same, in the books as one that must never be logged. */
function voidEvent({ topic, context: { ledger } }: Target): ForeignEvent {
  const event = strangersEvent(topic);
  ledger.voidEvents.add(event.id);
  return event;
}

function sendHealthy(target: Target): Promise<void> {
  return send(target, [messageOf(healthyEvent(target))]);
}

async function send(
  { topic, partition, producer }: Pick<Target, 'topic' | 'partition' | 'producer'>,
  messages: readonly Message[],
  compression = CompressionTypes.None,
): Promise<void> {
  const placed = messages.map((message) => ({ ...message, partition }));
  await producer.send({ topic, messages: placed, acks: -1, compression });
}

function compressed(compression: CompressionTypes): Send {
  return (target) => {
    const events = Array.from({ length: 3 }, () => healthyEvent(target));
    return send(target, events.map(messageOf), compression);
  };
}

const strangeHeaders: readonly RecordHeader[] = [
  ...['constructor', '__proto__', 'toString', 'hasOwnProperty', '', 'ce_id', 'traceparent'],
  ...['twice', 'between', 'twice'],
].flatMap((name) => [
  { name: Buffer.from(name), value: null },
  { name: Buffer.from(name), value: Buffer.from('a value') },
]);

const notText = { name: Buffer.from([0xff, 0x00]), value: Buffer.from([0x80]) };

function withStrangeHeaders(target: Target): Promise<void> {
  const headers = asProducerHeaders([...strangeHeaders, notText]);
  return send(target, [{ ...messageOf(healthyEvent(target)), headers }]);
}

function withManyHeaders(target: Target): Promise<void> {
  const header = { name: Buffer.from('h'), value: Buffer.from('v') };
  const headers = asProducerHeaders(Array.from({ length: 100_000 }, () => header));
  return send(target, [{ ...messageOf(healthyEvent(target)), headers }]);
}

function notAnEvent(target: Target): Promise<void> {
  return send(target, [{ ...asPoison(target), value: 'hello' }]);
}

/** Random bytes, which nothing compresses, above what Temporal takes as an input. */
function tooLargeForTemporal(target: Target): Promise<void> {
  return send(target, [{ ...asPoison(target), value: randomBytes(3 * 1024 * 1024) }]);
}

/** A few kilobytes that decompress to more than the limit; its key is in them, too. */
async function decompressionBomb(target: Target): Promise<void> {
  countPoison(target, '');
  const value = Buffer.alloc(maxDecompressedBytes + 1);
  await send(target, [{ key: 'bomb', value }], CompressionTypes.GZIP);
}

function asPoison(target: Target): { readonly key: string } {
  const key = `poison-${randomUUID()}`;
  countPoison(target, key);
  return { key };
}

function countPoison({ context: { poison } }: Target, key: string): void {
  poison.set(key, (poison.get(key) ?? 0) + 1);
}

async function abortedTransaction(target: Target): Promise<void> {
  await withTransaction(target, async (transaction) => {
    await transaction.send(voidEvent(target));
    await transaction.send(voidEvent(target));
    await transaction.abort();
  });
}

/** The one that began later aborts first. */
async function overlappingTransactions(target: Target): Promise<void> {
  await withTransaction(target, (earlier) =>
    withTransaction(target, async (later) => {
      await earlier.send(voidEvent(target));
      await later.send(voidEvent(target));
      await later.abort();
      await earlier.abort();
    }),
  );
}

interface OpenTransaction {
  send(event: ForeignEvent): Promise<void>;
  abort(): Promise<void>;
}

async function withTransaction(
  { topic, partition, context }: Target,
  work: (transaction: OpenTransaction) => Promise<void>,
): Promise<void> {
  const options = { transactionalId: randomUUID(), idempotent: true, maxInFlightRequests: 1 };
  await withProducer(context.stack.kafka, options, async (producer) => {
    const transaction = await producer.transaction();
    await work({
      async send(event) {
        await transaction.send({ topic, messages: [{ ...messageOf(event), partition }] });
      },
      abort: () => transaction.abort(),
    });
  });
}

async function withProducer(
  kafka: Kafka,
  options: ProducerConfig,
  work: (producer: Producer) => Promise<void>,
): Promise<void> {
  const producer = kafka.producer(options);
  await producer.connect();
  try {
    await work(producer);
  } finally {
    await producer.disconnect();
  }
}

/** What kafkajs leaves to others. It never decompresses here: see log-reader.ts. */
function registerCodecs(): void {
  const codec = (compress: (bytes: Buffer) => Buffer) => () => ({
    compress: async ({ buffer }: { readonly buffer: Buffer }) => compress(buffer),
    decompress: () => Promise.reject(new Error('Nobody reads with kafkajs here.')),
  });
  CompressionCodecs[CompressionTypes.GZIP] = codec(gzipSync);
  CompressionCodecs[CompressionTypes.Snappy] = codec(compressSync);
  CompressionCodecs[CompressionTypes.LZ4] = codec(compressFrameSync);
  CompressionCodecs[CompressionTypes.ZSTD] = codec(toZstd);
}

/**
 * A frame of Zstandard with the bytes as they are, which every reader takes; Node.js 20 has no encoder.
 * https://datatracker.ietf.org/doc/html/rfc8878#section-3.1.1
 */
function toZstd(bytes: Buffer): Buffer {
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0]);
  head.writeUInt32LE(bytes.length, 5);
  // One last block, raw.
  const block = Buffer.alloc(3);
  block.writeUIntLE((bytes.length << 3) | 1, 0, 3);
  return Buffer.concat([head, block, bytes]);
}

async function raiseMessageLimit(kafka: Kafka): Promise<void> {
  const admin: Admin = kafka.admin();
  await admin.connect();
  try {
    const configEntries = [{ name: 'max.message.bytes', value: String(4 * 1024 * 1024) }];
    const resources = eventTopics.map((name) => ({
      type: ConfigResourceTypes.TOPIC,
      name,
      configEntries,
    }));
    await admin.alterConfigs({ validateOnly: false, resources });
  } finally {
    await admin.disconnect();
  }
}
