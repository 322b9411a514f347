/**
 * `npm test`: brings up clusters of its own on free ports, runs jest against them, and takes them down
 * again with their data, whatever happened. Arguments are jest's: `npm test -- bridge`.
 *
 * Each of jest's workers has a cluster of its own, and runs one file at a time; `TEST_WORKERS` says how
 * many there are. Where no file needs servers, none are started.
 *
 * `npm run test:watch` is the same with `--watch`: one cluster, which stays up until the watch ends.
 *
 * With `CI=true`, files that fail run once more, alone: two processors shared by two clusters make a few
 * limits of time fail that hold otherwise. A test that passes only then is named at the end as unsteady
 * (decision 0030).
 *
 * Its last line is `N passed, N failed`, and its exit code is jest's.
 */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { ClusterError } from '../cluster/local-cluster';
import { withLinkedSignal } from '../platform/process/abort';
import { runProgram } from '../platform/process/program';
import { pause } from '../platform/process/waiting';
import { withTestClusters, type TestRun } from '../testkit/test-cluster';
import type { TestEnvironments } from './environment';
import foldersNeedingServers from './needing-servers.json';

/** How a run ended. */
interface Result {
  readonly exitCode: number;
  readonly files: readonly FileResult[];
}

/** How long a test or a file of tests took, in ms. */
interface Duration {
  readonly name: string;
  readonly milliseconds: number;
}

/** A file, and how its tests ended. A file that could not be loaded or cleaned up is a failed test. */
interface FileResult extends Duration {
  readonly tests: readonly TestResult[];
}

interface TestResult extends Duration {
  readonly outcome: 'passed' | 'failed' | 'skipped';
}

/** The parts of jest's report that are read here. */
interface JestReport {
  readonly success: boolean;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly duration?: number | null;
    }[];
  }[];
}

const root = path.join(__dirname, '..');

/** More than processors would be faster, and make tests run into limits that they keep otherwise. */
const mostWorkers = Number(process.env['TEST_WORKERS'] || availableParallelism());

/** More failing files than these are no matter of time: they are not repeated. */
const mostRepeatedFiles = 3;

/** After its report jest has nothing left to do but to end. */
const endingMs = 15_000;

/** A server of a test lives for minutes: compiling its code thoroughly costs more than that saves. */
const javaOptions = '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC';

async function main(jestArguments: readonly string[]): Promise<number> {
  process.env['JDK_JAVA_OPTIONS'] ??= javaOptions;
  if (jestArguments.some((each) => /^--watch(All)?$/.test(each))) return watch(jestArguments);
  const files: string[] = [];
  return withTestClusters(
    async (signal) => {
      files.push(...(await listFiles(jestArguments, signal)));
      return files.some(needsServers) ? Math.min(mostWorkers, files.length) : 0;
    },
    async (run) => {
      const workers = run.clusters.length || availableParallelism();
      const first = await runTests([`--maxWorkers=${workers}`, ...jestArguments], run);
      const failing = first.files.filter(hasFailed).map(({ name }) => name);
      if (process.env['CI'] !== 'true' || failing.length === 0) return conclude(first);
      if (failing.length > mostRepeatedFiles) return conclude(first);
      return conclude(first, await repeatAlone(failing, run));
    },
  );
}

function watch(jestArguments: readonly string[]): Promise<number> {
  return withTestClusters(
    () => Promise.resolve(1),
    async (run) => {
      // It reads the keyboard, and ends itself on Ctrl-C.
      const jest = startJest(['--maxWorkers=1', ...jestArguments], run, { stdio: 'inherit' });
      return (await untilExit(jest, run.signal)) ?? 1;
    },
  );
}

async function listFiles(jestArguments: readonly string[], signal: AbortSignal): Promise<string[]> {
  const jest = spawnJest(['--listTests', '--json', ...jestArguments], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  jest.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = await untilExit(jest, signal);
  // What is wrong with the arguments jest says again when it is run.
  return exitCode === 0 ? (JSON.parse(output) as string[]) : [];
}

function needsServers(file: string): boolean {
  return foldersNeedingServers.some((folder) =>
    file.startsWith(path.join(__dirname, folder) + path.sep),
  );
}

function repeatAlone(files: readonly string[], run: TestRun): Promise<Result> {
  console.log(`\nThese files failed, and run once more, alone: ${files.join(', ')}`);
  return runTests(['--maxWorkers=1', '--runTestsByPath', ...files], run);
}

async function runTests(jestArguments: readonly string[], run: TestRun): Promise<Result> {
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-report-'));
  const reportFile = path.join(directory, 'report.json');
  try {
    const options = ['--json', `--outputFile=${reportFile}`, '--passWithNoTests', ...jestArguments];
    const jest = startJest(options, run, {
      stdio: ['ignore', 'inherit', 'inherit'],
      // A group of its own, which whatever tests have started is in, and which is ended as a whole.
      detached: true,
    });
    const exitCode = await untilEnd(jest, reportFile, run.signal);
    return await readReport(reportFile, exitCode);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Each worker finds its own cluster in `TEST_ENVIRONMENTS` (`environment.ts`). */
function startJest(
  jestArguments: readonly string[],
  { clusters, testServer }: TestRun,
  options: SpawnOptions,
): ChildProcess {
  const environments: TestEnvironments = clusters.map(({ variables }) => variables);
  return spawnJest(jestArguments, {
    ...options,
    env: {
      LOG_LEVEL: 'warn',
      ...process.env,
      TEMPORAL_TEST_SERVER_PATH: testServer,
      TEST_ENVIRONMENTS: JSON.stringify(environments),
    },
  });
}

function spawnJest(jestArguments: readonly string[], options: SpawnOptions): ChildProcess {
  const program = require.resolve('jest/bin/jest');
  return spawn(process.execPath, [program, ...jestArguments], { cwd: root, ...options });
}

async function untilExit(
  child: ChildProcess,
  signal: AbortSignal,
  end = (): void => void child.kill('SIGTERM'),
): Promise<number | null> {
  const exited = once(child, 'exit') as Promise<[number | null]>;
  signal.addEventListener('abort', end);
  try {
    const [exitCode] = await exited;
    signal.throwIfAborted();
    return exitCode;
  } finally {
    signal.removeEventListener('abort', end);
  }
}

/**
 * Waits for jest to end, and ends it when it has reported and stays all the same. Nothing that it or a
 * test has started is left.
 */
async function untilEnd(
  jest: ChildProcess,
  reportFile: string,
  signal: AbortSignal,
): Promise<number | null> {
  const end = (name: NodeJS.Signals) => (): void => endGroup(jest, name);
  try {
    return await withLinkedSignal(signal, async (linked) => {
      const killWhenOverdue = async (): Promise<void> => {
        await untilOverdue(reportFile, linked.signal);
        if (linked.signal.aborted) return;
        console.error(
          `jest was still running ${endingMs / 1000} s after its report: it was killed.`,
        );
        end('SIGKILL')();
      };
      const exiting = untilExit(jest, signal, end('SIGTERM')).finally(() => linked.abort());
      const [exitCode] = await Promise.all([exiting, killWhenOverdue()]);
      return exitCode;
    });
  } finally {
    end('SIGKILL')();
  }
}

async function untilOverdue(reportFile: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !existsSync(reportFile)) await pause(1_000, signal);
  await pause(endingMs, signal);
}

function endGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid!, signal);
  } catch (error) {
    // Nobody is left in it.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function readReport(reportFile: string, exitCode: number | null): Promise<Result> {
  const text = await readFile(reportFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  // jest leaves no report when it could not even begin.
  if (text === undefined) return { exitCode: exitCode || 1, files: [notBegun] };
  const report = JSON.parse(text) as JestReport;
  return {
    exitCode: exitCode ?? (report.success ? 0 : 1),
    files: report.testResults.map(toFileResult),
  };
}

const notBegun = failedAsWhole('jest', 'it did not begin');

function failedAsWhole(name: string, what: string): FileResult {
  const test = { name: `${name}: ${what}`, milliseconds: 0, outcome: 'failed' } as const;
  return { name, milliseconds: 0, tests: [test] };
}

function toFileResult(file: JestReport['testResults'][number]): FileResult {
  const name = path.relative(root, file.name);
  const tests = file.assertionResults.map(({ fullName, status, duration }): TestResult => ({
    name: `${name}: ${fullName}`,
    milliseconds: duration ?? 0,
    outcome: status === 'passed' || status === 'failed' ? status : 'skipped',
  }));
  if (file.status === 'failed' && !tests.some(({ outcome }) => outcome === 'failed')) {
    tests.push(...failedAsWhole(name, 'it could not be loaded or cleaned up').tests);
  }
  return { name, milliseconds: file.endTime - file.startTime, tests };
}

function hasFailed({ tests }: FileResult): boolean {
  return tests.some(({ outcome }) => outcome === 'failed');
}

const shownDurations = 10;

/** Their time is everybody's: where it went stands at the end of each run. */
function tellSlowest(what: string, durations: readonly Duration[]): void {
  if (durations.length <= shownDurations) return;
  const slowest = [...durations].sort((one, other) => other.milliseconds - one.milliseconds);
  console.log(`\nThe ${shownDurations} slowest of ${durations.length} ${what}:`);
  for (const { name, milliseconds } of slowest.slice(0, shownDurations)) {
    console.log(`${(milliseconds / 1000).toFixed(1).padStart(7)} s  ${name}`);
  }
}

/** @param again the result of the files that failed first */
function conclude(first: Result, again?: Result): number {
  const repeated = new Map((again?.files ?? []).map((file) => [file.name, file]));
  const files = first.files.map((file) => repeated.get(file.name) ?? file);
  const tests = files.flatMap((file) => file.tests);
  tellSlowest('tests', tests);
  tellSlowest('files', files);
  tellUnsteady(first.files, tests);
  const [passed, failed, skipped] = (['passed', 'failed', 'skipped'] as const).map(
    (each) => tests.filter(({ outcome }) => outcome === each).length,
  ) as [number, number, number];
  if (passed + failed === 0) console.log('No test was run: does the pattern match any?');
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  const { exitCode } = again ?? first;
  return exitCode === 0 && (passed === 0 || failed > 0) ? 1 : exitCode;
}

function tellUnsteady(first: readonly FileResult[], last: readonly TestResult[]): void {
  const failed = new Set(
    last.filter(({ outcome }) => outcome === 'failed').map(({ name }) => name),
  );
  const unsteady = first
    .flatMap(({ tests }) => tests)
    .filter(({ name, outcome }) => outcome === 'failed' && !failed.has(name));
  for (const { name } of unsteady) console.log(`UNSTEADY, failed first and passed alone: ${name}`);
}

runProgram(() => main(process.argv.slice(2)), {
  explain: (error) => (error instanceof ClusterError ? error.message : error),
  exitAtOnce: true,
});
