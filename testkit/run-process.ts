/** Runs a process of the project that is expected to end by itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** How a process has ended. */
export interface Ending {
  /** Null when it had to be killed, since it did not end by itself. */
  readonly exitCode: number | null;
  /** What it has written, on both of its outputs. */
  readonly output: string;
}

/** Runs a process until it ends; one that stays is killed after `patienceMs`. */
export async function runToItsEnd(
  entry: string,
  environment: Readonly<Record<string, string>>,
  patienceMs = 30_000,
): Promise<Ending> {
  const child = spawn(process.execPath, ['--require', './typescript.cjs', entry], {
    cwd: path.join(__dirname, '..'),
    env: { ...process.env, ...environment, LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [exitCode] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { exitCode, output };
}
