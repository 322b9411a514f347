/** Kafka: one node that is broker and controller (KRaft). */
import { randomBytes } from 'node:crypto';
import { realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { exists, findOnPath, runCommand } from '../command';
import type { Launch } from '../daemon';
import { findOrInstall, mavenWay, type Recipe } from '../install';
import { findJava } from '../java';
import { loopback, type ClusterPorts } from '../ports';
import type { Server, ServerContext } from '../server';

/** The Kafka server; its program is the folder of its jars. */
export const kafka: Server = {
  name: 'kafka',
  ports: ['kafka', 'kafkaController'],
  find: (context) => findOrInstall(recipe, context.report, context.signal),
  prepare,
  healthy,
  stopSignal: 'SIGTERM',
};

const recipe: Recipe = {
  name: 'kafka',
  variable: 'CLUSTER_KAFKA_LIBRARIES',
  variableHolds: "the folder of Kafka's jars (libs of its distribution)",
  onPath: librariesOfInstalledKafka,
  cacheEntry: 'kafka-4.1.0',
  program: 'libs',
  ways: [mavenWay('kafka.xml', 'copy-dependencies', 'libs')],
  advice: 'install Maven (Debian: maven)',
};

/** A distribution of Kafka has its start script in `bin` and its jars in `libs`. */
async function librariesOfInstalledKafka(): Promise<string | undefined> {
  const script =
    (await findOnPath('kafka-server-start.sh')) ?? (await findOnPath('kafka-server-start'));
  if (script === undefined) return undefined;
  const libraries = join(dirname(await realpath(script)), '..', 'libs');
  // Older ones need ZooKeeper, or lack what the project uses.
  const isRecent = await exists(join(libraries, 'kafka_2.13-4.1.0.jar'));
  return isRecent ? libraries : undefined;
}

async function prepare(libraries: string, context: ServerContext): Promise<Launch> {
  const java = await findJava();
  const classPath = join(libraries, '*');
  const data = join(context.directory, 'data');
  const configuration = join(context.directory, 'server.properties');
  await writeFile(configuration, toProperties(settings(data, context.ports)));
  if (!(await exists(join(data, 'meta.properties')))) {
    context.report('kafka', 'formatting its data folder');
    const format = ['format', '--ignore-formatted', '-t', newClusterId(), '-c', configuration];
    await runCommand(java, ['-cp', classPath, 'kafka.tools.StorageTool', ...format], {
      signal: context.signal,
    });
  }
  const parameters = [...jvmOptions, '-cp', classPath, 'kafka.Kafka', configuration];
  return { program: java, parameters };
}

const jvmOptions = [
  '-Xmx512m',
  '-XX:+ExitOnOutOfMemoryError',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.kafka.server=info',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
];

type Settings = Readonly<Record<string, string | number | boolean>>;

function settings(data: string, ports: ClusterPorts): Settings {
  const broker = `PLAINTEXT://${loopback}:${ports.kafka}`;
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@${loopback}:${ports.kafkaController}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `${broker},CONTROLLER://${loopback}:${ports.kafkaController}`,
    'advertised.listeners': broker,
    'log.dirs': data,
    // The project creates its topics itself, with their partitions and retention.
    'auto.create.topics.enable': false,
    // A consumer that joins an empty group starts at once.
    'group.initial.rebalance.delay.ms': 0,
    // One node can hold one replica.
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    // The default of 50 partitions is for many brokers; here it only slows the start.
    'offsets.topic.num.partitions': 5,
    'transaction.state.log.num.partitions': 5,
  };
}

function toProperties(entries: Settings): string {
  // A backslash begins an escape in a properties file.
  const lines = Object.entries(entries).map(
    ([key, value]) => `${key}=${String(value).replaceAll('\\', '\\\\')}`,
  );
  return `${lines.join('\n')}\n`;
}

/**
 * 16 bytes in base64url; the first bit is cleared so that it never begins with `-` like an option.
 */
function newClusterId(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0);
  return bytes.toString('base64url');
}

async function healthy(ports: ClusterPorts): Promise<void> {
  const admin = new Kafka({
    brokers: [`${loopback}:${ports.kafka}`],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 2_000,
    retry: { retries: 0 },
  }).admin();
  try {
    await admin.connect();
    const { brokers } = await admin.describeCluster();
    if (brokers.length === 0) throw new Error('the broker has not joined its cluster yet');
  } finally {
    await admin.disconnect();
  }
}
