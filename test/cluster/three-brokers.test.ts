/** A Kafka of three brokers, on ports and in a folder of its own. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigResourceTypes, Kafka, logLevel, type Admin } from 'kafkajs';
import { createCluster, findFreePorts, type Cluster } from '../../cluster/local-cluster';
import { brokerCountFromEnvironment } from '../../cluster/servers/kafka';
import { eventTopics } from '../../events/topics';
import { migrateTopics } from '../../migrations/migrate';
import { createTopics } from '../../platform/kafka/client';
import { clientOf } from '../../platform/kafka/kafkajs';
import { tolerateLeaderlessPartitions } from '../../platform/kafka/protocol';
import { createLogger } from '../../platform/observability/logger';
import { until } from '../../testkit/until';

let directory: string;
let cluster: Cluster;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cluster-test-'));
  cluster = createCluster({ directory, ports: await findFreePorts(), kafkaBrokers: 3 });
});

afterAll(async () => {
  await cluster.reset();
  await rm(directory, { recursive: true, force: true });
});

describe('the number of brokers', () => {
  it('is one unless it is set', () => {
    expect(brokerCountFromEnvironment({})).toBe(1);
    expect(brokerCountFromEnvironment({ CLUSTER_KAFKA_BROKERS: '' })).toBe(1);
    expect(brokerCountFromEnvironment({ CLUSTER_KAFKA_BROKERS: '3' })).toBe(3);
  });

  it.each(['0', '2', '4', 'three'])('is refused by name when set to %s', (value) => {
    expect(() => brokerCountFromEnvironment({ CLUSTER_KAFKA_BROKERS: value })).toThrow(
      `CLUSTER_KAFKA_BROKERS must be 1 or 3, not "${value}".`,
    );
  });

  it('is told to whoever starts one of three in a cluster with one', async () => {
    const single = createCluster({ directory, ports: cluster.ports, kafkaBrokers: 1 });

    await expect(single.start('kafka-2')).rejects.toThrow(
      'kafka-2 is one of three brokers: set CLUSTER_KAFKA_BROKERS=3.',
    );
  });

  it('stays what it is for the data that a folder has', async () => {
    const folder = join(directory, 'used-with-one');
    await mkdir(join(folder, 'kafka'), { recursive: true });
    const used = createCluster({ directory: folder, ports: cluster.ports, kafkaBrokers: 3 });

    await expect(used.start('kafka')).rejects.toThrow(
      /used-with-one has the data of a Kafka with 1 broker, not 3: set CLUSTER_KAFKA_BROKERS=1, or/,
    );
    await used.reset();

    expect((await used.status()).map(({ name }) => name)).not.toContain('kafka');
  });
});

describe('three brokers', () => {
  beforeAll(async () => {
    await cluster.start('kafka');
    // A broker that has just started may know of itself alone.
    await migrateTopics(clientOf(kafka()), createLogger('test', 'fatal'), { knownBrokers: 3 });
  }, 120_000);

  it('are servers of their own names, and processes are given all of them', async () => {
    const running = (await cluster.status()).filter(({ state }) => state === 'running');

    expect(running.map(({ name }) => name)).toEqual(['kafka-1', 'kafka-2', 'kafka-3']);
    expect(cluster.environment.KAFKA_BROKERS.split(',')).toHaveLength(3);
  });

  it('keep each event three times, and acknowledge it once two have it', async () => {
    const { topics, settings } = await withAdmin(async (admin) => ({
      topics: (await admin.fetchTopicMetadata({ topics: [...eventTopics] })).topics,
      settings: await admin.describeConfigs({
        includeSynonyms: false,
        resources: eventTopics.map((name) => ({
          type: ConfigResourceTypes.TOPIC,
          name,
          configNames: ['min.insync.replicas'],
        })),
      }),
    }));

    for (const { partitions } of topics) {
      expect(partitions.map(({ replicas }) => replicas.length)).toEqual(partitions.map(() => 3));
    }
    for (const { configEntries } of settings.resources) {
      expect(configEntries.map(({ configValue }) => configValue)).toEqual(['2']);
    }
  });

  it('keep a topic as often as it is asked for, and say why where they cannot', async () => {
    await createTopics(clientOf(kafka()), [{ topic: 'kept-once', partitions: 1 }], { replicas: 1 });
    const tooOften = createTopics(clientOf(kafka()), [{ topic: 'late', partitions: 1 }], {
      replicas: 4,
    });

    await expect(tooOften).rejects.toThrow(
      /could not be created: Replication.* Start every broker, or set KAFKA_TOPIC_REPLICAS/,
    );
    expect(await countReplicas('kept-once')).toBe(1);
  });

  it('acknowledge with one of them stopped, and have it in sync again after its start', async () => {
    const pids = await pidsByName();

    await cluster.stop('kafka-2');
    await produceToEachPartition();
    const stopped = (await cluster.status()).find(({ name }) => name === 'kafka-2');
    await createTopics(clientOf(kafka()), [{ topic: 'late', partitions: 1 }], { knownBrokers: 3 });
    await cluster.start('kafka-2');

    expect(await countReplicas('late')).toBe(3);
    expect(stopped?.state).toBe('stopped');
    expect(await pidsByName()).toEqual({ ...pids, 'kafka-2': expect.any(Number) as number });
    await until('all replicas are in sync', () => withAdmin(allInSync), { timeoutMs: 30_000 });
  }, 90_000);

  it('are all stopped by the name kafka, by whoever does not know their number', async () => {
    const single = createCluster({ directory, ports: cluster.ports, kafkaBrokers: 1 });

    await single.stop('kafka');

    const states = (await cluster.status()).filter(({ name }) => cluster.brokers.includes(name));
    expect(states.map(({ state }) => state)).toEqual(['stopped', 'stopped', 'stopped']);
  }, 60_000);
});

async function pidsByName(): Promise<Record<string, number | undefined>> {
  const brokers = (await cluster.status()).filter(({ name }) => cluster.brokers.includes(name));
  return Object.fromEntries(brokers.map(({ name, pid }) => [name, pid]));
}

function kafka(): Kafka {
  // As every client of ours: a topic that is kept once may have no leader for a while.
  tolerateLeaderlessPartitions();
  return new Kafka({
    brokers: cluster.environment.KAFKA_BROKERS.split(','),
    logLevel: logLevel.NOTHING,
  });
}

async function withAdmin<Result>(work: (admin: Admin) => Promise<Result>): Promise<Result> {
  const admin = kafka().admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function countReplicas(topic: string): Promise<number | undefined> {
  const { topics } = await withAdmin((admin) => admin.fetchTopicMetadata({ topics: [topic] }));
  return topics[0]?.partitions[0]?.replicas.length;
}

async function allInSync(admin: Admin): Promise<boolean> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [...eventTopics] });
  return topics.every(({ partitions }) => partitions.every(({ isr }) => isr.length === 3));
}

async function produceToEachPartition(): Promise<void> {
  const producer = kafka().producer();
  await producer.connect();
  try {
    const messages = Array.from({ length: 6 }, (_, partition) => ({ partition, value: 'kept' }));
    await producer.send({ topic: eventTopics[0], acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}
