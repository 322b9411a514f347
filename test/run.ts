/**
 * `npm test`: brings up a cluster of its own on free ports, runs jest against it, and takes it down
 * again with its data, whatever happened. Arguments are jest's: `npm test -- bridge`.
 *
 * Its last line is `N passed, N failed`, and its exit code is jest's.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { ClusterError } from '../cluster/local-cluster';
import { runProgram } from '../platform/process/program';
import { withTestCluster, type TestCluster } from '../testkit/test-cluster';

/** How many tests ended how. A suite that could not be loaded is one failed test. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface PhaseResult extends Counts {
  readonly exitCode: number;
  readonly durations: readonly Duration[];
}

/** How long a test took, in ms. */
interface Duration {
  readonly name: string;
  readonly milliseconds: number;
}

/** The parts of jest's report that are read here. */
interface JestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly duration?: number | null;
    }[];
  }[];
}

const root = path.join(__dirname, '..');

/** The tests are run in these phases; `jest.config.js` says which test is in which project. */
const phases = [
  { project: 'unit', jestArguments: ['--maxWorkers=2'] },
  { project: 'servers', jestArguments: ['--runInBand'] },
];

async function main(
  jestArguments: readonly string[],
  { directory, environment, signal }: TestCluster,
): Promise<number> {
  const results: PhaseResult[] = [];
  for (const phase of phases) {
    signal.throwIfAborted();
    const options = [`--selectProjects=${phase.project}`, ...phase.jestArguments];
    results.push(await runJest([...options, ...jestArguments], directory, environment, signal));
  }
  return conclude(results);
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
    cwd: root,
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const exitCode = await untilExit(jest, signal);
  return { exitCode, ...(await readReport(reportFile)) };
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

async function readReport(reportFile: string): Promise<Omit<PhaseResult, 'exitCode'>> {
  const text = await readFile(reportFile, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  // jest leaves no report when it could not even begin.
  if (text === undefined) return { passed: 0, failed: 1, skipped: 0, durations: [] };
  const report = JSON.parse(text) as JestReport;
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
    durations: report.testResults.flatMap(({ name, assertionResults }) =>
      assertionResults.map(({ fullName, duration }) => ({
        name: `${path.relative(root, name)}: ${fullName}`,
        milliseconds: duration ?? 0,
      })),
    ),
  };
}

const shownDurations = 10;

/** Their time is everybody's: where it went stands at the end of each run. */
function tellSlowest(results: readonly PhaseResult[]): void {
  const durations = results.flatMap((result) => result.durations);
  const slowest = [...durations].sort((one, other) => other.milliseconds - one.milliseconds);
  if (durations.length <= shownDurations) return;
  console.log(`\nThe ${shownDurations} slowest of ${durations.length} tests:`);
  for (const { name, milliseconds } of slowest.slice(0, shownDurations)) {
    console.log(`${(milliseconds / 1000).toFixed(1).padStart(7)} s  ${name}`);
  }
}

function conclude(results: readonly PhaseResult[]): number {
  const sum = (of: (result: PhaseResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const passed = sum((result) => result.passed);
  const failed = sum((result) => result.failed);
  const skipped = sum((result) => result.skipped);
  tellSlowest(results);
  if (passed + failed === 0) console.log('No test was run: does the pattern match any?');
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  const exitCode = results.find((result) => result.exitCode !== 0)?.exitCode ?? 0;
  return exitCode === 0 && passed + failed === 0 ? 1 : exitCode;
}

runProgram(() => withTestCluster((cluster) => main(process.argv.slice(2), cluster)), {
  explain: (error) => (error instanceof ClusterError ? error.message : error),
  exitAtOnce: true,
});
