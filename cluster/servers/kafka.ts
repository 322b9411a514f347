/** Kafka: one node, or three, each of them broker and controller (KRaft). */
import { createHash } from 'node:crypto';
import { realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasJoinedCluster } from '../../platform/kafka/connection';
import { exists, findOnPath, runCommand } from '../command';
import type { Launch } from '../daemon';
import { findOrInstall, mavenWay, type Recipe } from '../install';
import { findJava } from '../java';
import { InvalidVariableError } from '../errors';
import { loopback, type ClusterPorts, type PortName } from '../ports';
import type { Server, ServerContext, ServerName } from '../server';

/** How many brokers a cluster has. Two would be no safer than one: their controllers need both. */
export type BrokerCount = 1 | 3;

/**
 * Reads `CLUSTER_KAFKA_BROKERS`; 1 unless set.
 *
 * @throws InvalidVariableError
 */
export function brokerCountFromEnvironment(environment: NodeJS.ProcessEnv): BrokerCount {
  const text = environment[brokersVariable] || '1';
  if (text === '1') return 1;
  if (text === '3') return 3;
  throw new InvalidVariableError(brokersVariable, `must be 1 or 3, not "${text}".`);
}

/** The variable that sets the number of brokers. */
export const brokersVariable = 'CLUSTER_KAFKA_BROKERS';

interface Node {
  readonly name: ServerName;
  readonly id: number;
  readonly port: PortName;
  readonly controllerPort: PortName;
}

const nodes: Readonly<Record<BrokerCount, readonly Node[]>> = {
  1: [{ name: 'kafka', id: 1, port: 'kafka', controllerPort: 'kafkaController' }],
  3: [
    { name: 'kafka-1', id: 1, port: 'kafka', controllerPort: 'kafkaController' },
    { name: 'kafka-2', id: 2, port: 'kafka2', controllerPort: 'kafka2Controller' },
    { name: 'kafka-3', id: 3, port: 'kafka3', controllerPort: 'kafka3Controller' },
  ],
};

/** The Kafka servers; the program of each is the folder of its jars. */
export const brokers: Readonly<Record<BrokerCount, readonly Server[]>> = {
  1: nodes[1].map((node) => serverOf(node, 1)),
  3: nodes[3].map((node) => serverOf(node, 3)),
};

/** The only broker of a cluster with one. */
export const kafka = brokers[1][0]!;

/** The `host:port` of each broker, comma separated. */
export function bootstrapAddresses(count: BrokerCount, ports: ClusterPorts): string {
  return nodes[count].map(({ port }) => `${loopback}:${ports[port]}`).join(',');
}

function serverOf(node: Node, count: BrokerCount): Server {
  return {
    name: node.name,
    ports: [node.port, node.controllerPort],
    find: (context) => findOrInstall(recipe, context.report, context.signal),
    prepare: (libraries, context) => prepare(libraries, context, node, count),
    healthy: (ports) => healthy(ports[node.port]),
    stopSignal: 'SIGTERM',
  };
}

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

async function prepare(
  libraries: string,
  context: ServerContext,
  node: Node,
  count: BrokerCount,
): Promise<Launch> {
  const java = await findJava();
  const classPath = join(libraries, '*');
  const data = join(context.directory, 'data');
  const configuration = join(context.directory, 'server.properties');
  const settings = { ...placeOf(node, count, context.ports), 'log.dirs': data };
  await writeFile(configuration, toProperties({ ...settings, ...brokerSettings(count) }));
  if (!(await exists(join(data, 'meta.properties')))) {
    context.report(node.name, 'formatting its data folder');
    const id = clusterIdOf(dirname(context.directory));
    const format = ['format', '--ignore-formatted', '-t', id, '-c', configuration];
    await runCommand(java, ['-cp', classPath, 'kafka.tools.StorageTool', ...format], {
      signal: context.signal,
    });
  }
  const heap = count === 1 ? '-Xmx512m' : '-Xmx320m';
  const parameters = [heap, ...jvmOptions, '-cp', classPath, 'kafka.Kafka', configuration];
  return { program: java, parameters };
}

const jvmOptions = [
  '-XX:+ExitOnOutOfMemoryError',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.kafka.server=info',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
];

type Settings = Readonly<Record<string, string | number | boolean>>;

function placeOf(node: Node, count: BrokerCount, ports: ClusterPorts): Settings {
  const broker = `PLAINTEXT://${loopback}:${ports[node.port]}`;
  const voters = nodes[count].map(
    ({ id, controllerPort }) => `${id}@${loopback}:${ports[controllerPort]}`,
  );
  return {
    'node.id': node.id,
    'controller.quorum.voters': voters.join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: `${broker},CONTROLLER://${loopback}:${ports[node.controllerPort]}`,
    'advertised.listeners': broker,
  };
}

/** The settings of each of so many brokers that do not say where it is. */
export function brokerSettings(count: BrokerCount): Settings {
  return {
    'process.roles': 'broker,controller',
    // The project creates its topics itself, with their partitions and retention.
    'auto.create.topics.enable': false,
    // A consumer that joins an empty group starts at once.
    'group.initial.rebalance.delay.ms': 0,
    // A replica on each broker, also of the topics that Kafka keeps for itself. Of one replica, one is
    // in sync enough, whatever is asked for.
    'default.replication.factor': count,
    'min.insync.replicas': 2,
    'offsets.topic.replication.factor': count,
    'transaction.state.log.replication.factor': count,
    'transaction.state.log.min.isr': 2,
    'share.coordinator.state.topic.replication.factor': count,
    'share.coordinator.state.topic.min.isr': 2,
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
 * 16 bytes in base64url, the same for every broker of a cluster's folder. The first bit is cleared so
 * that it never begins with `-` like an option.
 */
function clusterIdOf(directory: string): string {
  const bytes = createHash('sha256').update(directory).digest().subarray(0, 16);
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0);
  return bytes.toString('base64url');
}

async function healthy(port: number): Promise<void> {
  const hasJoined = await hasJoinedCluster(loopback, port);
  if (!hasJoined) throw new Error('the broker has not joined its cluster yet');
}
