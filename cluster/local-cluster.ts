/** The local cluster: real servers without Docker, for `npm start`, `npm test` and the command line. */
import { mkdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pause } from '../platform/process/waiting';
import { withLinkedSignal } from '../platform/process/abort';
import {
  findDaemon,
  hasEndedUnasked,
  keepPidFile,
  logTail,
  startDaemon,
  stopDaemon,
} from './daemon';
import type { Daemon, DaemonFiles } from './daemon';
import { exists } from './command';
import { defaultDirectory, directoryVariable, pidFileOf } from './directory';
import { ClusterError, ServerStartError } from './errors';
import { withLock } from './lock';
import { assertPortFree, loopback, portVariables, portsFromEnvironment } from './ports';
import type { ClusterPorts } from './ports';
import type { Report } from './progress';
import { serverNames, type Server, type ServerContext, type ServerName } from './server';
import {
  bootstrapAddresses,
  brokerCountFromEnvironment,
  brokers,
  brokersVariable,
  type BrokerCount,
} from './servers/kafka';
import { payments } from './servers/payments';
import { postgres } from './servers/postgres';
import { redis } from './servers/redis';
import { temporal } from './servers/temporal';

export { ClusterError } from './errors';
export { findFreePorts, type ClusterPorts } from './ports';
export { printProgress } from './progress';
export { serverNames, type ServerName } from './server';

export interface ClusterOptions {
  /** Where data, logs and process IDs are kept; default `CLUSTER_DIRECTORY`, else the project's `.cluster`. */
  readonly directory?: string;
  /** Default: from the `CLUSTER_…_PORT` variables. */
  readonly ports?: ClusterPorts;
  /** How many brokers Kafka has; default `CLUSTER_KAFKA_BROKERS`, else one. */
  readonly kafkaBrokers?: BrokerCount;
  /** Called for each step; default: none. */
  readonly report?: Report;
}

/** Options of the commands that start servers. */
interface StartOptions {
  /** Aborts the command: what it started is stopped again, and it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ServerStatus {
  readonly name: ServerName;
  /** `not answering`: its process runs, but fails its health check (starting or frozen). */
  readonly state: 'running' | 'not answering' | 'stopped';
  /** Only when its process lives. */
  readonly pid?: number;
  readonly ports: Readonly<Record<string, number>>;
  readonly logFile: string;
}

/**
 * A cluster. Its servers outlive the process that starts them; any process may stop them. Commands on the
 * same server, from this and other processes, wait for each other.
 */
export interface Cluster {
  /** An absolute path. */
  readonly directory: string;
  readonly ports: ClusterPorts;
  /** Its servers. */
  readonly servers: readonly ServerName[];
  /** Those of them that are Kafka's brokers. */
  readonly brokers: readonly ServerName[];
  /** The variables with which the project's processes find these servers. */
  readonly environment: Readonly<Record<ConnectionVariable, string>>;
  /** The URL of Temporal's Web UI. */
  readonly temporalUiUrl: string;
  /**
   * Starts every stopped server, concurrently, and resolves when all answer. When one fails, those
   * that this call started are stopped again.
   *
   * @returns the servers that this call started.
   * @throws ClusterError (its kinds are in `errors.ts`) that says what to do.
   */
  up(options?: StartOptions): Promise<ServerName[]>;
  /** Stops every server, also brokers of another number of them; their data stays. */
  down(): Promise<void>;
  /** Health-checks every server, also brokers of another number of them that this folder has. */
  status(): Promise<ServerStatus[]>;
  /** Stops every server and deletes all data and logs. */
  reset(): Promise<void>;
  /**
   * Starts one server, by the name `kafka` every broker, and resolves when it answers. Of three brokers
   * one answers only while another one runs.
   *
   * @returns false when it was running already.
   */
  start(name: ServerName, options?: StartOptions): Promise<boolean>;
  /**
   * Stops one server, by the name `kafka` every broker: gracefully, then by SIGKILL after a timeout.
   *
   * @returns false when it was not running.
   */
  stop(name: ServerName): Promise<boolean>;
  /** The servers that have crashed or were killed. */
  ended(): Promise<ServerName[]>;
  /**
   * Restarts a crashed server, and resolves when it answers. When that fails, the server still counts
   * as crashed, so that it can be retried.
   *
   * @returns false when it is running, or was stopped by somebody.
   */
  revive(name: ServerName, options?: StartOptions): Promise<boolean>;
}

type ConnectionVariable =
  'DATABASE_URL' | 'REDIS_URL' | 'KAFKA_BROKERS' | 'TEMPORAL_ADDRESS' | 'PAYMENT_GATEWAY_URL';

/**
 * Creates a cluster object; starts nothing.
 *
 * @throws InvalidVariableError when a port variable is not a port, or the number of brokers not one.
 */
export function createCluster(options: ClusterOptions = {}): Cluster {
  const directory = resolve(options.directory ?? defaultDirectory());
  const ports = options.ports ?? portsFromEnvironment(process.env);
  const brokerCount = options.kafkaBrokers ?? brokerCountFromEnvironment(process.env);
  const servers = serversWith(brokerCount);
  const report = options.report ?? (() => undefined);
  const place: Place = { directory, ports, brokerCount, servers, report };
  return {
    directory,
    ports,
    servers: servers.map(({ name }) => name),
    brokers: brokers[brokerCount].map(({ name }) => name),
    environment: connectionVariables(place),
    temporalUiUrl: `http://${loopback}:${ports.temporalUi}`,
    up: ({ signal = neverAborted } = {}) => startAll(place, signal),
    down: async () => {
      await ofEachPresent(place, (server) => stopServer(place, server));
    },
    status: () => ofEachPresent(place, (server) => statusOf(place, server)),
    reset: async () => {
      await ofEachPresent(place, (server) => resetServer(place, server));
      // They are of products that are gone now.
      await rm(viewSpoolFolder(directory), { recursive: true, force: true });
    },
    start: (name, { signal = neverAborted } = {}) => startCalled(place, name, signal),
    stop: (name) => stopCalled(place, name),
    ended: () => endedServers(place),
    revive: async (name, { signal = neverAborted } = {}) => {
      const revived = serversCalled(place, name).map((each) => reviveServer(place, each, signal));
      return (await Promise.all(revived)).includes(true);
    },
  };
}

/** The variables that say what a cluster is, beside those of the programs that it installs. */
export const clusterVariables: readonly string[] = [
  directoryVariable,
  brokersVariable,
  ...Object.values(portVariables),
];

/** Where an API of the cluster keeps views until Kafka has them. */
export function viewSpoolFolder(directory: string): string {
  return join(directory, 'view-spool');
}

interface Place {
  readonly directory: string;
  readonly ports: ClusterPorts;
  readonly brokerCount: BrokerCount;
  readonly servers: readonly Server[];
  readonly report: Report;
}

function serversWith(brokerCount: BrokerCount): readonly Server[] {
  return [postgres, redis, ...brokers[brokerCount], temporal, payments];
}

const neverAborted = new AbortController().signal;
const answerWithinMs = 90_000;
const pollMs = 100;
const stopPatienceMs = 20_000;

function connectionVariables({
  ports,
  brokerCount,
}: Pick<Place, 'ports' | 'brokerCount'>): Record<ConnectionVariable, string> {
  return {
    DATABASE_URL: `postgres://commerce:commerce@${loopback}:${ports.postgres}/commerce`,
    REDIS_URL: `redis://${loopback}:${ports.redis}`,
    KAFKA_BROKERS: bootstrapAddresses(brokerCount, ports),
    TEMPORAL_ADDRESS: `${loopback}:${ports.temporal}`,
    PAYMENT_GATEWAY_URL: `http://${loopback}:${ports.payments}`,
  };
}

/** The servers that a name means: of Kafka several where it has several brokers. */
function serversCalled({ servers, brokerCount }: Place, name: ServerName): readonly Server[] {
  if (name === 'kafka') return brokers[brokerCount];
  const server = servers.find((each) => each.name === name);
  if (server !== undefined) return [server];
  const problem = isBroker(name)
    ? `${name} is one of three brokers: set ${brokersVariable}=3.`
    : `Unknown server "${String(name)}": the servers are ${serverNames.join(', ')}.`;
  throw new ClusterError('UNKNOWN_SERVER', problem);
}

function isBroker(name: ServerName): boolean {
  return [...brokers[1], ...brokers[3]].some((broker) => broker.name === name);
}

/** Brokers of another number of them: the folder may have been used with that before. */
async function otherBrokers(place: Place): Promise<Server[]> {
  const others = brokers[place.brokerCount === 1 ? 3 : 1];
  const present = await Promise.all(others.map((each) => exists(directoryOf(place, each))));
  return others.filter((_, index) => present[index]);
}

/** Does something with every server, and with whatever else this folder has. */
async function ofEachPresent<Result>(
  place: Place,
  work: (server: Server) => Promise<Result>,
): Promise<Result[]> {
  return Promise.all([...place.servers, ...(await otherBrokers(place))].map(work));
}

// Starting

function startAll(place: Place, given: AbortSignal): Promise<ServerName[]> {
  return withLinkedSignal(given, (linked) => startAllOrNone(place, linked));
}

async function startAllOrNone(place: Place, linked: AbortController): Promise<ServerName[]> {
  const started: Server[] = [];
  let failure: { readonly error: unknown } | undefined;
  await Promise.all(
    place.servers.map(async (server) => {
      try {
        if (await startServer(place, server, linked.signal)) started.push(server);
      } catch (error) {
        // The first failure aborts the others, whose errors only follow from it.
        failure ??= { error };
        linked.abort(error);
      }
    }),
  );
  if (failure !== undefined) {
    await Promise.all(started.map((server) => stopServer(place, server)));
    throw failure.error;
  }
  return started.map((server) => server.name);
}

async function startCalled(place: Place, name: ServerName, signal: AbortSignal): Promise<boolean> {
  const called = serversCalled(place, name);
  const started = await Promise.all(called.map((each) => startServer(place, each, signal)));
  return started.includes(true);
}

function startServer(place: Place, server: Server, given: AbortSignal): Promise<boolean> {
  return alone(place, server, given, async (signal) => {
    const running = await findDaemon(filesOf(place, server).pidFile);
    // One that was killed a moment ago may still be ending.
    if (running && (await joinRunning(place, server, running, signal))) return false;
    await startStopped(place, server, signal);
    return true;
  });
}

async function startStopped(place: Place, server: Server, signal: AbortSignal): Promise<void> {
  const files = filesOf(place, server);
  const context: ServerContext = { ...place, directory: directoryOf(place, server), signal };
  if (isBroker(server.name)) await assertSameBrokers(place);
  await assertPortsFree(place, server);
  const program = await server.find(context);
  await mkdir(context.directory, { recursive: true });
  const launch = await server.prepare(program, context);
  signal.throwIfAborted();
  const { pid } = await startDaemon(launch, files, portsOf(place, server));
  place.report(server.name, `starting (process ${pid})`);
  try {
    if (!(await becomesHealthy(place, server, signal))) {
      throw await startError(place, server, 'ended');
    }
  } catch (error) {
    await stopRunning(place, server);
    throw error;
  }
  place.report(server.name, `answers on ${addressesOf(portsOf(place, server))}`);
}

/** @returns whether it answers; false when it has ended */
async function joinRunning(
  place: Place,
  server: Server,
  running: Daemon,
  signal: AbortSignal,
): Promise<boolean> {
  const wanted = addressesOf(portsOf(place, server));
  const present = addressesOf(running.ports);
  if (wanted !== present) {
    throw new ClusterError(
      'OTHER_PORTS',
      `${server.name} of ${place.directory} already runs on ${present}, not on ${wanted}: ` +
        `stop it first, or set ${portVariables[server.ports[0]]} to its port.`,
    );
  }
  if (!(await becomesHealthy(place, server, signal))) return false;
  place.report(server.name, `already running (process ${running.pid}) on ${present}`);
  return true;
}

async function endedServers(place: Place): Promise<ServerName[]> {
  const ended = await Promise.all(
    place.servers.map((server) => hasEndedUnasked(filesOf(place, server).pidFile)),
  );
  return place.servers.filter((_, index) => ended[index]).map(({ name }) => name);
}

function reviveServer(place: Place, server: Server, given: AbortSignal): Promise<boolean> {
  return alone(place, server, given, async (signal) => {
    const { pidFile } = filesOf(place, server);
    // Checked under the lock: its previous holder may have been stopping the server.
    if (!(await hasEndedUnasked(pidFile))) return false;
    await keepPidFile(pidFile, () => startStopped(place, server, signal));
    return true;
  });
}

/** What the brokers of another number of them have kept would be missing. */
async function assertSameBrokers(place: Place): Promise<void> {
  const { directory, brokerCount } = place;
  if ((await otherBrokers(place)).length === 0) return;
  const kept = brokerCount === 1 ? 3 : 1;
  throw new ClusterError(
    'OTHER_BROKERS',
    `${directory} has the data of a Kafka with ${kept} broker${kept === 1 ? '' : 's'}, not ${brokerCount}: ` +
      `set ${brokersVariable}=${kept}, or delete all data with \`npm run cluster -- reset\`.`,
  );
}

async function assertPortsFree(place: Place, server: Server): Promise<void> {
  for (const name of server.ports) await assertPortFree(server.name, name, place.ports[name]);
}

/**
 * @returns whether it answers; false when it has ended
 * @throws ServerStartError when it runs, and does not answer in time
 */
async function becomesHealthy(place: Place, server: Server, signal: AbortSignal): Promise<boolean> {
  const { pidFile } = filesOf(place, server);
  const deadline = performance.now() + answerWithinMs;
  for (;;) {
    if ((await findDaemon(pidFile)) === undefined) return false;
    try {
      await server.healthy(place.ports);
      return true;
    } catch (cause) {
      if (performance.now() > deadline) {
        const problem = `did not answer within ${answerWithinMs / 1000} s`;
        throw await startError(place, server, problem, cause);
      }
    }
    await pause(pollMs, signal);
    signal.throwIfAborted();
  }
}

async function startError(
  place: Place,
  server: Server,
  problem: string,
  cause?: unknown,
): Promise<ServerStartError> {
  const { logFile } = filesOf(place, server);
  return new ServerStartError(server.name, problem, logFile, await logTail(logFile), cause);
}

// Stopping, resetting, asking

/** Brokers of another number of them can be stopped as well: whoever does it need not know the number. */
async function stopCalled(place: Place, name: ServerName): Promise<boolean> {
  const others = (await otherBrokers(place)).filter((each) => [each.name, 'kafka'].includes(name));
  const called = others.length > 0 ? others : serversCalled(place, name);
  const stopped = await Promise.all(called.map((each) => stopServer(place, each)));
  return stopped.includes(true);
}

function stopServer(place: Place, server: Server): Promise<boolean> {
  return alone(place, server, neverAborted, () => stopRunning(place, server));
}

async function stopRunning(place: Place, server: Server): Promise<boolean> {
  const { pidFile } = filesOf(place, server);
  const wasRunning = await stopDaemon(pidFile, server.stopSignal, stopPatienceMs);
  place.report(server.name, wasRunning ? 'stopped' : 'not running');
  return wasRunning;
}

function resetServer(place: Place, server: Server): Promise<void> {
  return alone(place, server, neverAborted, async () => {
    await stopRunning(place, server);
    const directory = directoryOf(place, server);
    await server.deleteData?.(directory);
    await rm(directory, { recursive: true, force: true });
    place.report(server.name, 'data deleted');
  });
}

async function statusOf(place: Place, server: Server): Promise<ServerStatus> {
  const { pidFile, logFile } = filesOf(place, server);
  const daemon = await findDaemon(pidFile);
  const known = { name: server.name, logFile };
  if (daemon === undefined) return { ...known, state: 'stopped', ports: portsOf(place, server) };
  const healthy = await server.healthy({ ...place.ports, ...daemon.ports }).then(
    () => true,
    () => false,
  );
  const state = healthy ? 'running' : 'not answering';
  return { ...known, state, pid: daemon.pid, ports: daemon.ports };
}

// Where things are

/** Serialises commands on one server. */
async function alone<Result>(
  place: Place,
  server: Server,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const onWait = (): void => place.report(server.name, 'waiting for another command to finish');
  return withLock({ path: join(place.directory, 'locks', server.name), signal, onWait }, work);
}

function directoryOf(place: Place, server: Server): string {
  return join(place.directory, server.name);
}

function filesOf(place: Place, server: Server): DaemonFiles {
  const directory = directoryOf(place, server);
  return {
    pidFile: pidFileOf(place.directory, server.name),
    logFile: join(directory, 'server.log'),
  };
}

function portsOf(place: Place, server: Server): Record<string, number> {
  return Object.fromEntries(server.ports.map((name) => [name, place.ports[name]]));
}

function addressesOf(ports: Readonly<Record<string, number>>): string {
  return Object.values(ports)
    .map((port) => `${loopback}:${port}`)
    .join(', ');
}
