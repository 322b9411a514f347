/** The cluster's ports: their defaults, the variables that set them, and free ones for a second cluster. */
import { createServer } from 'node:net';
import { randomInt } from 'node:crypto';
import { InvalidVariableError, PortInUseError } from './errors';

/** Every server of the cluster binds to this address only. */
export const loopback = '127.0.0.1';

export interface ClusterPorts {
  readonly postgres: number;
  readonly redis: number;
  /** Of Kafka's only broker, or of the first of three. */
  readonly kafka: number;
  /** Of its member of Kafka's controller quorum. */
  readonly kafkaController: number;
  /** Of the second and the third broker, where there are three. */
  readonly kafka2: number;
  readonly kafka2Controller: number;
  readonly kafka3: number;
  readonly kafka3Controller: number;
  readonly temporal: number;
  readonly temporalUi: number;
  readonly payments: number;
}

export type PortName = keyof ClusterPorts;

export const defaultPorts: ClusterPorts = {
  postgres: 15432,
  redis: 16379,
  kafka: 19092,
  kafkaController: 19093,
  kafka2: 19192,
  kafka2Controller: 19193,
  kafka3: 19292,
  kafka3Controller: 19293,
  temporal: 17233,
  temporalUi: 18233,
  payments: 18080,
};

/** The environment variable that sets each port. */
export const portVariables: Readonly<Record<PortName, string>> = {
  postgres: 'CLUSTER_POSTGRES_PORT',
  redis: 'CLUSTER_REDIS_PORT',
  kafka: 'CLUSTER_KAFKA_PORT',
  kafkaController: 'CLUSTER_KAFKA_CONTROLLER_PORT',
  kafka2: 'CLUSTER_KAFKA_2_PORT',
  kafka2Controller: 'CLUSTER_KAFKA_2_CONTROLLER_PORT',
  kafka3: 'CLUSTER_KAFKA_3_PORT',
  kafka3Controller: 'CLUSTER_KAFKA_3_CONTROLLER_PORT',
  temporal: 'CLUSTER_TEMPORAL_PORT',
  temporalUi: 'CLUSTER_TEMPORAL_UI_PORT',
  payments: 'CLUSTER_PAYMENTS_PORT',
};

/**
 * Reads the ports from variables, with defaults. The port of a broker's controller defaults to the
 * broker's plus one, those of further brokers to the first one's plus 100 and plus 200.
 *
 * @throws InvalidVariableError for a value that is not a port.
 */
export function portsFromEnvironment(environment: NodeJS.ProcessEnv): ClusterPorts {
  const read = (name: PortName, fallback: number): number =>
    parsePort(portVariables[name], environment[portVariables[name]], fallback);
  const kafka = read('kafka', defaultPorts.kafka);
  const kafka2 = read('kafka2', kafka + 100);
  const kafka3 = read('kafka3', kafka + 200);
  return {
    postgres: read('postgres', defaultPorts.postgres),
    redis: read('redis', defaultPorts.redis),
    kafka,
    kafkaController: read('kafkaController', kafka + 1),
    kafka2,
    kafka2Controller: read('kafka2Controller', kafka2 + 1),
    kafka3,
    kafka3Controller: read('kafka3Controller', kafka3 + 1),
    temporal: read('temporal', defaultPorts.temporal),
    temporalUi: read('temporalUi', defaultPorts.temporalUi),
    payments: read('payments', defaultPorts.payments),
  };
}

/**
 * Finds a free port for each server, for a cluster beside the one on the default ports.
 *
 * The ports lie below the system's ephemeral range: otherwise an outgoing connection could take the
 * port of a stopped server.
 */
export async function findFreePorts(): Promise<ClusterPorts> {
  const names = Object.keys(portVariables) as PortName[];
  const ports = await findDistinctFreePorts(names.length);
  return Object.fromEntries(names.map((name, index) => [name, ports[index]])) as Record<
    PortName,
    number
  >;
}

/**
 * Resolves when `port` can be bound on the loopback address.
 *
 * @throws PortInUseError that names the server and the variable to set.
 */
export async function assertPortFree(server: string, name: PortName, port: number): Promise<void> {
  const problem = await tryToBind(port);
  if (problem !== undefined) {
    throw new PortInUseError(server, port, portVariables[name], problem);
  }
}

const lowestFreePort = 20_000;
const ephemeralRangeStart = 32_000;

/** Finds free ports, like {@link findFreePorts}. */
export async function findDistinctFreePorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const candidate = randomInt(lowestFreePort, ephemeralRangeStart);
    if ((await tryToBind(candidate)) === undefined) found.add(candidate);
  }
  return [...found];
}

/** Binds and releases a port. @returns the error; undefined when the port is free */
export function tryToBind(port: number, host = loopback): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', resolve);
    probe.listen(port, host, () => probe.close(() => resolve(undefined)));
  });
}

function parsePort(variable: string, value: string | undefined, fallback: number): number {
  if (value === undefined || value === '') return fallback;
  const port = Number(value);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new InvalidVariableError(variable, `must be a port from 1 to 65535, not "${value}".`);
  }
  return port;
}
