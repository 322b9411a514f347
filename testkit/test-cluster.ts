/**
 * Clusters for one run of tests: each on free ports and in a folder of its own, taken down with their
 * data whatever happens, also by a signal.
 */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import {
  createCluster,
  findFreePorts,
  printProgress,
  type Cluster,
  type ClusterPorts,
} from '../cluster/local-cluster';
import { portVariables, type PortName } from '../cluster/ports';
import { brokersVariable } from '../cluster/servers/kafka';
import { findTestServer } from '../cluster/test-server';
import { withLinkedSignal } from '../platform/process/abort';

/** A cluster that is up. */
export interface TestCluster {
  /** Aborted when the run is to end. */
  readonly signal: AbortSignal;
  /** Its folder, which is removed at the end. */
  readonly directory: string;
  /** What processes find its servers with; `createCluster()` in such a process is this cluster. */
  readonly environment: NodeJS.ProcessEnv;
  /** The part of `environment` that is the cluster's own. */
  readonly variables: Readonly<Record<string, string>>;
}

/** What a run of tests is given. */
export interface TestRun {
  /** Aborted when the run is to end. */
  readonly signal: AbortSignal;
  /** Where Temporal's time-skipping test server is. */
  readonly testServer: string;
  readonly clusters: readonly TestCluster[];
}

const directoryPrefix = 'commerce-event-pipeline-tests-';
const report = printProgress(process.stderr);

/**
 * Brings a cluster up, runs `work` with it and takes it down.
 *
 * @returns the exit code that `work` answers, or that of the signal that ended it
 */
export function withTestCluster(work: (cluster: TestCluster) => Promise<number>): Promise<number> {
  return withTestClusters(
    () => Promise.resolve(1),
    ({ clusters }) => work(clusters[0]!),
  );
}

/**
 * Brings as many clusters up as `count` says, side by side, runs `work` with them and takes them down.
 * When one of them does not come up, all are taken down and `work` is not run.
 *
 * @returns the exit code that `work` answers, or that of the signal that ended it
 */
export async function withTestClusters(
  count: (signal: AbortSignal) => Promise<number>,
  work: (run: TestRun) => Promise<number>,
): Promise<number> {
  const interruption = listenForSignals();
  const { signal } = interruption;
  const clusters: Cluster[] = [];
  try {
    await removeClustersOfDeadRuns();
    const wanted = await count(signal);
    while (clusters.length < wanted) clusters.push(await describeCluster(clusters));
    const testServer = await bringUp(clusters, signal);
    return await orUnfinished(
      work({
        signal,
        testServer,
        clusters: clusters.map((cluster) => {
          const variables = environmentOf(cluster, testServer);
          const environment = { ...process.env, ...variables };
          return { signal, directory: cluster.directory, environment, variables };
        }),
      }),
    );
  } catch (error) {
    if (signal.aborted) return interruption.exitCode();
    throw error;
  } finally {
    await Promise.all(clusters.map(removeCluster));
  }
}

async function describeCluster(others: readonly Cluster[]): Promise<Cluster> {
  const directory = await mkdtemp(path.join(tmpdir(), `${directoryPrefix}${process.pid}-`));
  // Postgres refuses to run as root, and its own user must reach its data.
  await chmod(directory, 0o755);
  return createCluster({ directory, ports: await findOtherPorts(others), report });
}

/** No two clusters may be given the same ports: until they are up, these are free for both. */
async function findOtherPorts(others: readonly Cluster[]): Promise<ClusterPorts> {
  const taken = new Set(others.flatMap(({ ports }) => Object.values(ports)));
  for (;;) {
    const ports = await findFreePorts();
    if (!Object.values(ports).some((port) => taken.has(port))) return ports;
  }
}

/** Ends only when each has come up or given up: what is taken down must not be coming up meanwhile. */
async function bringUp(clusters: readonly Cluster[], given: AbortSignal): Promise<string> {
  return withLinkedSignal(given, async (linked) => {
    const { signal } = linked;
    const all = [findTestServer(report, signal), ...clusters.map((each) => each.up({ signal }))];
    let failure: { readonly error: unknown } | undefined;
    const [testServer] = await Promise.all(
      all.map((each: Promise<unknown>) =>
        each.catch((error: unknown) => {
          // The first failure ends the others; theirs only follow from it.
          failure ??= { error };
          linked.abort(error);
        }),
      ),
    );
    if (failure !== undefined) throw failure.error;
    return testServer as string;
  });
}

/**
 * What `work` waits for may be gone without a word. Then Node.js would end this process at once, and
 * its servers would stay.
 */
function orUnfinished<T>(work: Promise<T>): Promise<T> {
  const unfinished = new Promise<never>((_, reject) =>
    process.once('beforeExit', () =>
      reject(new Error('The run ended before its work was done: nothing was left to wait for.')),
    ),
  );
  return Promise.race([work, unfinished]);
}

/** Aborted by the first signal; from then on this process only cleans up. */
export function listenForSignals(): { signal: AbortSignal; exitCode: () => number } {
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

/** What the tests find the servers with, and with what `createCluster()` in a test is this cluster. */
function environmentOf(cluster: Cluster, testServer: string): Record<string, string> {
  const ports = Object.entries(portVariables) as [PortName, string][];
  return {
    LOG_LEVEL: 'warn',
    ...cluster.environment,
    TEMPORAL_UI_URL: cluster.temporalUiUrl,
    TEMPORAL_TEST_SERVER_PATH: testServer,
    CLUSTER_DIRECTORY: cluster.directory,
    [brokersVariable]: String(cluster.brokers.length),
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
