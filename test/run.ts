/**
 * `npm test`: brings up a cluster of its own on free ports, runs jest against it, and takes it down
 * again with its data, whatever happened. Arguments are jest's: `npm test -- bridge`.
 *
 * Its last line is `N passed, N failed`, and its exit code is jest's.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import {
  ClusterError,
  createCluster,
  findFreePorts,
  printProgress,
  type Cluster,
} from '../cluster/local-cluster';
import { PORT_VARIABLES, type PortName } from '../cluster/ports';
import { findTestServer } from '../cluster/test-server';

/** How many tests ended how. A suite that could not be loaded is one failed test. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface PhaseResult extends Counts {
  readonly exitCode: number;
}

/** The parts of jest's report that are read here. */
interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
}

/** The tests are run in these phases; `jest.config.js` says which test is in which project. */
const phases = [
  { project: 'unit', jestArguments: ['--maxWorkers=2'] },
  { project: 'servers', jestArguments: ['--runInBand'] },
];

const directoryPrefix = 'commerce-event-pipeline-tests-';
const report = printProgress(process.stderr);

async function main(jestArguments: readonly string[]): Promise<number> {
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
    const results: PhaseResult[] = [];
    for (const phase of phases) {
      signal.throwIfAborted();
      const options = [`--selectProjects=${phase.project}`, ...phase.jestArguments];
      results.push(await runJest([...options, ...jestArguments], directory, environment, signal));
    }
    await removeCluster(cluster);
    return conclude(results);
  } catch (error) {
    await removeCluster(cluster);
    if (interruption.signal.aborted) return interruption.exitCode();
    throw error;
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

async function runJest(
  jestArguments: readonly string[],
  directory: string,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<PhaseResult> {
  const reportFile = path.join(directory, 'jest-report.json');
  await rm(reportFile, { force: true });
  const options = ['--json', `--outputFile=${reportFile}`, '--passWithNoTests', ...jestArguments];
  const jest = spawn(process.execPath, [require.resolve('jest/bin/jest'), ...options], {
    cwd: path.join(__dirname, '..'),
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const exitCode = await untilExit(jest, signal);
  return { exitCode, ...(await readCounts(reportFile)) };
}

async function untilExit(child: ChildProcess, signal: AbortSignal): Promise<number> {
  const kill = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', kill);
  try {
    const [exitCode] = (await once(child, 'exit')) as [number | null];
    signal.throwIfAborted();
    return exitCode ?? 1;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

async function readCounts(reportFile: string): Promise<Counts> {
  const text = await readFile(reportFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  // jest leaves no report when it could not even begin.
  if (text === undefined) return { passed: 0, failed: 1, skipped: 0 };
  const counts = JSON.parse(text) as JestReport;
  return {
    passed: counts.numPassedTests,
    failed: counts.numFailedTests + counts.numRuntimeErrorTestSuites,
    skipped: counts.numPendingTests + counts.numTodoTests,
  };
}

function conclude(results: readonly PhaseResult[]): number {
  const sum = (of: (result: PhaseResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const passed = sum((result) => result.passed);
  const failed = sum((result) => result.failed);
  const skipped = sum((result) => result.skipped);
  if (passed + failed === 0) console.log('No test was run: does the pattern match any?');
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  const exitCode = results.find((result) => result.exitCode !== 0)?.exitCode ?? 0;
  return exitCode === 0 && passed + failed === 0 ? 1 : exitCode;
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

main(process.argv.slice(2)).then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    console.error(error instanceof ClusterError ? error.message : error);
    process.exit(1);
  },
);
