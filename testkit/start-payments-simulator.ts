/** The payments simulator as a real process on a free port, for tests of it and of its client. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const projectFolder = resolve(__dirname, '..');
const entryPoint = join(projectFolder, 'payments-simulator/main.ts');
const announcement = /^payments simulator listening on (\S+)$/;

/** A simulator that runs. */
export interface RunningSimulator {
  /** Base address. */
  url: string;
  /** Sends a signal and resolves with the exit code, `null` when the signal ended it. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>;
  /** Closes the IPC channel, as the end of this process would; resolves as `stop` does. */
  abandon(): Promise<number | null>;
}

/**
 * Starts a simulator on a port of the system's choice.
 *
 * @param environment more variables, such as `PAYMENTS_DATA_FILE`.
 * @throws Error with the process's standard error when it exits before it answers.
 */
export async function startPaymentsSimulator(
  environment: Record<string, string> = {},
): Promise<RunningSimulator> {
  const child = spawn(process.execPath, ['--require', './typescript.cjs', entryPoint], {
    cwd: projectFolder,
    env: { ...process.env, PAYMENTS_PORT: '0', PAYMENTS_HOST: '127.0.0.1', ...environment },
    // The channel stops the simulator of an interrupted test run, which ran no afterEach.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  running.add(child);
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => {
    running.delete(child);
    return code ?? null;
  });
  const url = await announcedUrl(child, exited);
  return {
    url,
    stop(signal) {
      child.kill(signal);
      return exited;
    },
    abandon() {
      child.disconnect();
      return exited;
    },
  };
}

/** Stops every simulator left running by a test; for `afterEach`. */
export async function stopPaymentsSimulators(): Promise<void> {
  await Promise.all(
    [...running].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
}

/** Runs `work` with a path for a data file, and removes the file's folder afterwards. */
export async function withDataFile(work: (dataFile: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'payments-simulator-'));
  try {
    await work(join(folder, 'data', 'payments.jsonl'));
  } finally {
    await stopPaymentsSimulators();
    rmSync(folder, { recursive: true });
  }
}

const running = new Set<ChildProcess>();

async function announcedUrl(child: ChildProcess, exited: Promise<unknown>): Promise<string> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null)
    throw new Error('the simulator was started without pipes');
  let complaint = '';
  stderr.setEncoding('utf8').on('data', (text: string) => (complaint += text));

  const announced = new Promise<string>((found) => {
    createInterface(stdout).on('line', (line) => {
      const url = announcement.exec(line)?.[1];
      if (url !== undefined) found(url);
    });
  });
  const ended = exited.then((): never => {
    throw new Error(`the payments simulator ended before it answered: ${complaint}`);
  });
  return Promise.race([announced, ended]);
}
