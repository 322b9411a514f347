/**
 * Preloaded into a process by the fault suite, never part of the product: changes one thing in that
 * process, named by `FAULT_ALTERATION`. `late-fills` and `through-proxy` are bad luck that the product must bear; the
 * others take away what its correctness rests on, and the suite must notice (see sabotages.ts).
 */
import Module from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, type Consumer, type EachBatchPayload, type RecordMetadata } from 'kafkajs';
import { Client } from 'pg';
import { partitionsPerTopic } from '../../events/topics';
import type * as SpoolModule from '../../platform/disk/spool';
import type * as KafkaSenderModule from '../../platform/kafka/sender';
import type { Partition, SendQueue } from '../../platform/kafka/send-queue';
import type * as ProductCacheModule from '../../cache/product-cache';
import { lateFillKey, type LateFill } from './altered';
import { statementName } from './statement-name';
import type { RedisConnection } from '../../platform/redis/client';

/** What can be changed. */
export type Alteration =
  /** A reader that fills the cache does so only when what it has loaded has changed since. */
  | 'late-fills'
  /** Connections to a port before a colon in `FAULT_PROXY` go to the one behind it. */
  | 'through-proxy'
  /** Fills come late, and the cache takes them although their lease is void. */
  | 'lease-ignored'
  /** Views are answered without being in the spool. */
  | 'views-unspooled'
  /** The sender sends each message by itself, whatever is under way. */
  | 'concurrent-sends'
  /** One request goes to several leaders, and an answer that lacks the record of a message counts as if it had one. */
  | 'missing-records-taken'
  /** The bridge commits before it starts workflows, and is killed in between. */
  | 'commit-before-start'
  /** The bridge's consumer keeps its partitions and its heart beating, and does nothing. */
  | 'hung-consumer'
  /** An event that is handled already is applied once more. */
  | 'guard-ignored';

const alterations: Readonly<Record<Alteration, () => void>> = {
  'late-fills': () => {
    alterCache((cache, redis, { productLeaseKey }) => ({
      ...cache,
      fill: late(redis, productLeaseKey, cache.fill.bind(cache)),
    }));
  },

  'through-proxy': () => {
    const proxies = new Map(
      process.env['FAULT_PROXY']!.split(',').map(
        (pair) => pair.split(':').map(Number) as [number, number],
      ),
    );
    const { connect } = net;
    // kafkajs takes the broker's own address from its metadata: it has to be led around it.
    net.connect = ((options: net.NetConnectOpts, ...rest: []) => {
      const proxy = 'port' in options ? proxies.get(options.port) : undefined;
      return connect(proxy === undefined ? options : { ...options, port: proxy }, ...rest);
    }) as typeof connect;
  },

  'lease-ignored': () => {
    alterCache((cache, redis, { productCacheKey, productLeaseKey }) => ({
      ...cache,
      fill: late(redis, productLeaseKey, async (productId, _lease, json) => {
        await redis.set(productCacheKey(productId), json, 'EX', 300);
        return true;
      }),
    }));
  },

  'views-unspooled': () => {
    alterModule<typeof SpoolModule>('platform/disk/spool.ts', (original) => ({
      ...original,
      openSpool: async (...input) =>
        Object.assign(await original.openSpool(...input), { append: async () => undefined }),
    }));
  },

  'concurrent-sends': () => {
    alterQueues((queue) => {
      // A sender that never sees that it is sending already.
      queue.requestAhead = () => undefined;
      // When a request fails, kafkajs sends what waits next under its sequence number, and only then retries
      // it. The broker takes the next one for its copy, and drops it, only if it has as many messages.
      alterPartitions(queue, { isAlone: true, limit: 1 });
    });
  },

  'missing-records-taken': () => {
    // One request for all leaders, as kafkajs would send it: of what it splits, a retry may leave a part out.
    alterQueues((queue) => {
      alterPartitions(queue, { leader: 1 });
    });
    const prototype = Kafka.prototype as Pick<Kafka, 'producer'>;
    const createProducer = prototype.producer;
    prototype.producer = function (...input) {
      const producer = createProducer.apply(this as Kafka, input);
      return {
        ...producer,
        send: async (record) => withAllRecords([record.topic], await producer.send(record)),
        sendBatch: async (batch) => {
          const topics = (batch.topicMessages ?? []).map(({ topic }) => topic);
          return withAllRecords(topics, await producer.sendBatch(batch));
        },
      };
    };
  },

  'commit-before-start': () => {
    const prototype = Kafka.prototype as Pick<Kafka, 'consumer'>;
    const createConsumer = prototype.consumer;
    prototype.consumer = function (...input) {
      const consumer = createConsumer.apply(this as Kafka, input);
      return { ...consumer, run: () => consumer.run({ eachBatch: commitAndDie(consumer) }) };
    };
  },

  'hung-consumer': () => {
    const prototype = Kafka.prototype as Pick<Kafka, 'consumer'>;
    const createConsumer = prototype.consumer;
    prototype.consumer = function (...input) {
      const consumer = createConsumer.apply(this as Kafka, input);
      return { ...consumer, run: (options) => consumer.run({ ...options, eachBatch: hang }) };
    };
  },

  'guard-ignored': () => {
    const prototype = Client.prototype as unknown as { query: (...input: unknown[]) => unknown };
    const { query } = prototype;
    prototype.query = function (statement, ...rest) {
      if (statementName(statement) !== 'metrics-update') {
        return query.call(this, statement, ...rest);
      }
      const careless = (statement as { text: string }).text.replace(
        'DO NOTHING',
        'DO UPDATE SET handled_at = now()',
      );
      return query.call(this, { ...(statement as object), text: careless }, ...rest);
    };
  },
};

alterations[process.env['FAULT_ALTERATION'] as Alteration]();

type Cache = ProductCacheModule.ProductCache;
type LeaseKey = typeof ProductCacheModule.productLeaseKey;

function alterCache(
  alter: (cache: Cache, redis: RedisConnection, original: typeof ProductCacheModule) => Cache,
): void {
  alterModule<typeof ProductCacheModule>('cache/product-cache.ts', (original) => ({
    ...original,
    createProductCache: (redis, options) =>
      alter(original.createProductCache(redis, options), redis, original),
  }));
}

/** For what nobody changes. A lease is good for longer, so that it is filled all the same. */
const latestMs = 8_000;

/** A fill that comes when what it brings has been evicted, and tells whether it has been. */
function late(redis: RedisConnection, leaseKey: LeaseKey, fill: Cache['fill']): Cache['fill'] {
  return async (productId, lease, json) => {
    const isVoid = async () => (await redis.get(leaseKey(productId))) !== lease;
    const latest = Date.now() + latestMs;
    while (Date.now() < latest && !(await isVoid())) await sleep(50);
    const came: LateFill = (await isVoid()) ? 'after its eviction' : 'before it';
    const filled = await fill(productId, lease, json);
    await redis.set(lateFillKey(productId), came, 'PX', 60_000);
    return filled;
  };
}

/** What kafkajs answers, with a record also for each partition that it has not sent to. */
function withAllRecords(topics: readonly string[], records: RecordMetadata[]): RecordMetadata[] {
  const isThere = (topic: string, partition: number): boolean =>
    records.some((each) => each.topicName === topic && each.partition === partition);
  const missing = topics.flatMap((topicName) =>
    Array.from({ length: partitionsPerTopic }, (_, partition) => partition)
      .filter((partition) => !isThere(topicName, partition))
      .map((partition) => ({ topicName, partition, errorCode: 0, baseOffset: '0' })),
  );
  return [...records, ...missing];
}

function commitAndDie(consumer: Consumer): (payload: EachBatchPayload) => Promise<void> {
  return async ({ batch }) => {
    const { topic, partition } = batch;
    const offset = (BigInt(batch.lastOffset()) + 1n).toString();
    await consumer.commitOffsets([{ topic, partition, offset }]);
    process.kill(process.pid, 'SIGKILL');
  };
}

async function hang({ heartbeat }: EachBatchPayload): Promise<never> {
  for (;;) {
    await heartbeat();
    await sleep(1_000);
  }
}

/** Changes the queue of each topic's sender. */
function alterQueues(alter: (queue: SendQueue) => void): void {
  alterModule<typeof KafkaSenderModule>('platform/kafka/sender.ts', (original) => ({
    ...original,
    createKafkaSender: (...input) => {
      const sender = original.createKafkaSender(...input) as unknown as {
        senderOf(topic: string): { readonly dependencies: { readonly queue: SendQueue } };
      };
      const senderOf = sender.senderOf.bind(sender);
      const altered = new WeakSet<SendQueue>();
      sender.senderOf = (topic) => {
        const own = senderOf(topic);
        const { queue } = own.dependencies;
        if (!altered.has(queue)) alter(queue);
        altered.add(queue);
        return own;
      };
      return sender as unknown as KafkaSenderModule.KafkaSender;
    },
  }));
}

/** Gives each partition of the queue these properties, whatever they are set to later. */
function alterPartitions(queue: SendQueue, fixed: Partial<Partition>): void {
  const descriptors = Object.fromEntries(
    Object.entries(fixed).map(([name, value]) => [
      name,
      { get: () => value, set: () => undefined, configurable: true },
    ]),
  );
  const partition = queue.partition.bind(queue);
  queue.partition = (id, leader) => Object.defineProperties(partition(id, leader), descriptors);
}

/** Gives whoever requires the file of the project something else. */
function alterModule<T>(file: string, alter: (original: T) => T): void {
  const target = path.join(__dirname, '..', '..', file);
  // Node's types leave out what its loader is built of.
  const loader = Module as unknown as {
    _load(request: string, parent: unknown, isMain: boolean): unknown;
    _resolveFilename(request: string, parent: unknown): string;
  };
  const load = loader._load.bind(loader);
  loader._load = (request, parent, isMain) => {
    const loaded = load(request, parent, isMain);
    // A part of the cheap check first: every module of the process comes by here.
    if (!request.endsWith(path.basename(file, '.ts'))) return loaded;
    const found = loader._resolveFilename(request, parent) === target;
    return found ? alter(loaded as T) : loaded;
  };
}
