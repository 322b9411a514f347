/** Runs a program to its end, and finds programs on `PATH`. */
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { CommandError } from './errors';

/** How to run a program. */
export interface CommandOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Written to the program's standard input, which is closed after it. */
  readonly input?: string;
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** Aborting kills the program and its children. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a program to its end.
 *
 * @returns what it wrote to standard output and standard error, in the order it came.
 * @throws CommandError with the end of that output when it exits with anything but 0.
 */
export function runCommand(
  program: string,
  parameters: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    options.signal?.throwIfAborted();
    const child = spawn(program, parameters, {
      cwd: options.cwd,
      env: { ...process.env, ...options.environment },
      ...options.user,
      // Its own process group, so that its children can be killed with it.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-outputLimit);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);

    const endGroup = (): void => killGroup(child.pid);
    options.signal?.addEventListener('abort', endGroup, { once: true });
    process.once('exit', endGroup);
    const settle = (): void => {
      options.signal?.removeEventListener('abort', endGroup);
      process.removeListener('exit', endGroup);
    };

    child.once('error', (cause) => {
      settle();
      reject(new CommandError(program, 'could not be run', cause.message, cause));
    });
    child.once('close', (code, signal) => {
      settle();
      if (options.signal?.aborted === true) reject(options.signal.reason as Error);
      else if (code === 0) resolve(output);
      else reject(new CommandError(program, `ended with ${signal ?? `code ${code}`}`, output));
    });
    // EPIPE: a program may close its input without reading it. Its exit code is what counts.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}

/** The absolute path of the first executable `name` on `PATH`. */
export async function findOnPath(name: string): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    if (directory === '') continue;
    const candidate = join(directory, name);
    if (await isExecutable(candidate)) return candidate;
  }
  return undefined;
}

/** Whether this process may execute the file. */
export async function isExecutable(path: string): Promise<boolean> {
  return canAccess(path, constants.X_OK);
}

/** Whether the file or folder is there. */
export async function exists(path: string): Promise<boolean> {
  return canAccess(path, constants.F_OK);
}

/** Enough for the last output of a failed build. */
const outputLimit = 4_000;

async function canAccess(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
