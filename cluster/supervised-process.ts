/** One process of the project, kept running: it is started again whenever it ends by itself. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { reportsReady } from '../platform/dependencies/readiness';
import { createBackoff, pause, pollUntil } from '../platform/process/waiting';
import { logTail } from './daemon';
import { ClusterError } from './errors';
import { openOutputLog } from './process-output';
import { processDefinitions, type ProcessName } from './processes';
import type { Report } from './progress';

/** What a process is run with. */
export interface SupervisionOptions {
  /** The whole environment of the process. */
  readonly environment: NodeJS.ProcessEnv;
  /** Where the process, with this environment, serves `/readyz`. */
  readonly url: string;
  readonly logFile: string;
  /** Is told what happens to the process, and its warnings and errors. */
  readonly report: Report;
  /** Is told the ID of each process, as soon as it runs. */
  readonly onStarted: (pid: number) => void;
}

/** A process that is kept running. */
export interface SupervisedProcess {
  /**
   * Resolves when the process, in its present run, has been ready.
   *
   * @throws ClusterError `PROCESS_NOT_READY` after two minutes, with the end of its log.
   */
  whenReady(signal: AbortSignal): Promise<void>;
  /** Lets it finish: SIGTERM, and SIGKILL when it has not ended after 20 s. It stays ended. */
  stop(): Promise<void>;
  /** Ends it at once. It stays ended. */
  kill(): void;
}

/** How long to wait before something that keeps ending is started again. */
export const restartBackoff = { firstMs: 200, longestMs: 5_000 };

const root = join(__dirname, '..');
const readyWithinMs = 120_000;
const readyPollMs = 50;
const stopPatienceMs = 20_000;
/** A process that has run for this long is not in a loop of crashes. */
const steadyAfterMs = 10_000;

/** Starts a process and keeps it running. */
export function superviseProcess(
  name: ProcessName,
  options: SupervisionOptions,
): SupervisedProcess {
  const { report, logFile, url } = options;
  const stopping = new AbortController();
  let child: ChildProcess | undefined;
  let ready = false;
  let runs = 0;

  const log = openOutputLog(logFile, (text) => report(name, text));

  const watchReadiness = async (run: AbortSignal): Promise<void> => {
    while (!ready && !run.aborted) {
      ready = (await reportsReady(url)) && !run.aborted;
      if (!ready) await pause(readyPollMs, run);
    }
    if (ready) report(name, `${runs > 1 ? 'works again' : 'works'} (process ${child?.pid})`);
  };

  const runOnce = async (): Promise<string> => {
    ready = false;
    runs += 1;
    const present = spawnProcess(name, options.environment);
    child = present;
    const run = new AbortController();
    const ended = endOf(present);
    if (present.stdout && present.stderr) log.follow(present.stdout, present.stderr);
    if (present.pid !== undefined) options.onStarted(present.pid);
    const watching = watchReadiness(run.signal);
    const ending = await ended;
    run.abort();
    await watching;
    ready = false;
    return ending;
  };

  const keepRunning = async (): Promise<void> => {
    const backoff = createBackoff(restartBackoff);
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      const ending = await runOnce();
      if (stopping.signal.aborted) break;
      if (performance.now() - startedAt > steadyAfterMs) backoff.reset();
      const waitMs = backoff.next();
      report(name, `${ending}; starting it again in ${waitMs / 1000} s`);
      await pause(waitMs, stopping.signal);
    }
    await log.close();
  };
  const running = keepRunning();

  return {
    async whenReady(signal) {
      const polling = { timeoutMs: readyWithinMs, pollMs: 10, signal };
      if (!(await pollUntil(() => ready, polling))) throw await notReady(name, logFile);
    },
    async stop() {
      stopping.abort();
      const end = (signal: NodeJS.Signals): void => void child?.kill(signal);
      end('SIGTERM');
      // A process that somebody froze cannot act on a signal.
      end('SIGCONT');
      const timer = setTimeout(() => {
        report(name, `has not ended after ${stopPatienceMs / 1000} s: killed`);
        end('SIGKILL');
      }, stopPatienceMs);
      await running;
      clearTimeout(timer);
    },
    kill() {
      stopping.abort();
      child?.kill('SIGKILL');
    },
  };
}

function spawnProcess(name: ProcessName, environment: NodeJS.ProcessEnv): ChildProcess {
  return spawn(
    process.execPath,
    ['--require', './typescript.cjs', processDefinitions[name].entry],
    {
      cwd: root,
      env: environment,
      // A group of its own: Ctrl-C in a terminal reaches the supervisor, which stops it in its turn.
      detached: true,
      // The channel tells it when the supervisor is gone.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    },
  );
}

/** How the process ended, for people. Resolves when all of its output has been read. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`could not be run (${error.message})`));
    child.once('close', (code, signal) =>
      resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`),
    );
  });
}

async function notReady(name: ProcessName, logFile: string): Promise<ClusterError> {
  return new ClusterError(
    'PROCESS_NOT_READY',
    `${name} was not ready within ${readyWithinMs / 1000} s. ` +
      `The end of its log, ${logFile}:\n${await logTail(logFile)}`,
  );
}
