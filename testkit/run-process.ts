/** Runs a process of the project that is expected to exit. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** The result of a process. */
export interface Ending {
  /** Null when it was killed, because it did not exit. */
  readonly exitCode: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** Runs a process until it exits; kills it after `patienceMs`. */
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
