/**
 * A cluster for one run of tests: on free ports, in a folder of its own, taken down with its data
 * whatever happens, also by a signal.
 */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import {
  createCluster,
  findFreePorts,
  printProgress,
  type Cluster,
} from '../cluster/local-cluster';
import { PORT_VARIABLES, type PortName } from '../cluster/ports';
import { findTestServer } from '../cluster/test-server';

/** A cluster that is up. */
export interface TestCluster {
  /** Aborted when the run is to end. */
  readonly signal: AbortSignal;
  /** Its folder, which is removed at the end. */
  readonly directory: string;
  /** What processes find its servers with; `createCluster()` in such a process is this cluster. */
  readonly environment: NodeJS.ProcessEnv;
}

const directoryPrefix = 'commerce-event-pipeline-tests-';
const report = printProgress(process.stderr);

/**
 * Brings a cluster up, runs `work` with it and takes it down.
 *
 * @returns the exit code that `work` answers, or that of the signal that ended it
 */
export async function withTestCluster(
  work: (cluster: TestCluster) => Promise<number>,
): Promise<number> {
  const interruption = listenForSignals();
  await removeClustersOfDeadRuns();
  const directory = await mkdtemp(path.join(tmpdir(), `${directoryPrefix}${process.pid}-`));
  // Postgres refuses to run as root, and its own user must reach its data.
  await chmod(directory, 0o755);
  const cluster = createCluster({ directory, ports: await findFreePorts(), report });
  try {
    const { signal } = interruption;
    const [testServer] = await allOrNone([findTestServer(report, signal), cluster.up({ signal })]);
    const environment = { ...process.env, ...environmentOf(cluster, testServer) };
    return await work({ signal, directory, environment });
  } catch (error) {
    if (interruption.signal.aborted) return interruption.exitCode();
    throw error;
  } finally {
    await removeCluster(cluster);
  }
}

/** Aborted by the first signal; from then on this process only cleans up. */
function listenForSignals(): { signal: AbortSignal; exitCode: () => number } {
  const controller = new AbortController();
  let exitCode = 0;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      exitCode ||= 128 + constants.signals[name];
      controller.abort(new Error(`The tests were ended by ${name}.`));
    });
  }
  return { signal: controller.signal, exitCode: () => exitCode };
}

/** Like Promise.all, but when one fails it waits for the others to end before it rejects. */
async function allOrNone<First, Second>(
  promises: readonly [Promise<First>, Promise<Second>],
): Promise<[First, Second]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

/** What the tests find the servers with, and with what `createCluster()` in a test is this cluster. */
function environmentOf(cluster: Cluster, testServer: string): Record<string, string> {
  const ports = Object.entries(PORT_VARIABLES) as [PortName, string][];
  return {
    LOG_LEVEL: 'warn',
    ...cluster.environment,
    TEMPORAL_UI_URL: cluster.temporalUiUrl,
    TEMPORAL_TEST_SERVER_PATH: testServer,
    CLUSTER_DIRECTORY: cluster.directory,
    ...Object.fromEntries(ports.map(([name, variable]) => [variable, String(cluster.ports[name])])),
  };
}

async function removeCluster(cluster: Cluster): Promise<void> {
  await cluster.reset();
  await rm(cluster.directory, { recursive: true, force: true });
}

/** A run that was killed could not take its servers down. */
async function removeClustersOfDeadRuns(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(directoryPrefix)) continue;
    const owner = Number.parseInt(name.slice(directoryPrefix.length), 10);
    if (isAlive(owner)) continue;
    await removeCluster(createCluster({ directory: path.join(tmpdir(), name), report }));
  }
}

function isAlive(processId: number): boolean {
  try {
    return process.kill(processId, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
