/** One process of the project, kept running: it is started again whenever it ends by itself. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createBackoff, pause, pollUntil } from '../platform/process/waiting';
import { logTail } from './daemon';
import { ClusterError } from './errors';
import { openOutputLog, type LogLine } from './process-output';
import { PROCESSES, type ProcessName } from './processes';
import type { Report } from './progress';

/** What a process is run with. */
export interface SupervisionOptions {
  /** The whole environment of the process. */
  readonly environment: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** Is told what happens to the process, and its warnings and errors. */
  readonly report: Report;
  /** Is told the ID of each process, as soon as it runs. */
  readonly onStarted: (pid: number) => void;
}

/** A process that is kept running. */
export interface SupervisedProcess {
  /**
   * Resolves with the log line in which the process, in its present run, tells that it works.
   *
   * @throws ClusterError `PROCESS_NOT_READY` after two minutes, with the end of its log.
   */
  whenReady(signal: AbortSignal): Promise<LogLine>;
  /** Lets it finish: SIGTERM, and SIGKILL when it has not ended after 20 s. It stays ended. */
  stop(): Promise<void>;
  /** Ends it at once. It stays ended. */
  kill(): void;
}

/** How long to wait before something that keeps ending is started again. */
export const RESTART_BACKOFF = { firstMs: 200, longestMs: 5_000 };

const root = join(__dirname, '..');
const READY_WITHIN_MS = 120_000;
const READY_POLL_MS = 20;
const STOP_PATIENCE_MS = 20_000;
/** A process that has run for this long is not in a loop of crashes. */
const STEADY_AFTER_MS = 10_000;

/** Starts a process and keeps it running. */
export function superviseProcess(
  name: ProcessName,
  options: SupervisionOptions,
): SupervisedProcess {
  const { readyMessage } = PROCESSES[name];
  const { report, logFile } = options;
  const stopping = new AbortController();
  let child: ChildProcess | undefined;
  let ready: LogLine | undefined;
  let runs = 0;

  const log = openOutputLog(logFile, {
    onAlarm: (text) => report(name, text),
    onLogLine: (line) => {
      if (line.msg !== readyMessage) return;
      if (ready === undefined)
        report(name, `${runs > 1 ? 'works again' : 'works'} (process ${child?.pid})`);
      ready = line;
    },
  });

  const runOnce = async (): Promise<string> => {
    ready = undefined;
    runs += 1;
    const present = spawnProcess(name, options.environment);
    child = present;
    const ended = endOf(present);
    if (present.stdout && present.stderr) log.follow(present.stdout, present.stderr);
    if (present.pid !== undefined) options.onStarted(present.pid);
    return ended;
  };

  const keepRunning = async (): Promise<void> => {
    const backoff = createBackoff(RESTART_BACKOFF);
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      const ending = await runOnce();
      ready = undefined;
      if (stopping.signal.aborted) break;
      if (performance.now() - startedAt > STEADY_AFTER_MS) backoff.reset();
      const waitMs = backoff.next();
      report(name, `${ending}; starting it again in ${waitMs / 1000} s`);
      await pause(waitMs, stopping.signal);
    }
    await log.close();
  };
  const running = keepRunning();

  return {
    async whenReady(signal) {
      const polling = { timeoutMs: READY_WITHIN_MS, pollMs: READY_POLL_MS, signal };
      const line = await pollUntil(() => ready, polling);
      if (line === undefined) throw await notReady(name, logFile);
      return line;
    },
    async stop() {
      stopping.abort();
      const end = (signal: NodeJS.Signals): void => void child?.kill(signal);
      end('SIGTERM');
      // A process that somebody froze cannot act on a signal.
      end('SIGCONT');
      const timer = setTimeout(() => {
        report(name, `has not ended after ${STOP_PATIENCE_MS / 1000} s: killed`);
        end('SIGKILL');
      }, STOP_PATIENCE_MS);
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
  return spawn(process.execPath, ['--require', './typescript.cjs', PROCESSES[name].entry], {
    cwd: root,
    env: environment,
    // A group of its own: Ctrl-C in a terminal reaches the supervisor, which stops it in its turn.
    detached: true,
    // The channel tells it when the supervisor is gone.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
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
    `${name} did not begin its work within ${READY_WITHIN_MS / 1000} s. ` +
      `The end of its log, ${logFile}:\n${await logTail(logFile)}`,
  );
}
