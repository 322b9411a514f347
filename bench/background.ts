/** Processes of the other sides: real processes, started and stopped by the suite. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { until } from '../testkit/until';

/** A running process. */
export interface Background {
  readonly pid: number;
  /** The last number reported in a message `{ done }`; 0 before. */
  done(): number;
  /** Rejects when it ends unexpectedly. */
  readonly unexpectedEnd: Promise<never>;
  /** Stops it gracefully, and waits until it has ended. */
  end(): Promise<void>;
}

/** Starts a program of this folder and waits until it tells, with a message `{ ready }`, that it works. */
export async function startInBackground(
  file: string,
  environment: Readonly<NodeJS.ProcessEnv>,
): Promise<Background> {
  const child = spawn(
    process.execPath,
    ['--require', './typescript.cjs', path.join(__dirname, file)],
    {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    },
  );
  const exited = once(child, 'exit');
  // What it logs is nobody's, and a full pipe would hold it up.
  child.stdout!.resume();
  let ready = false;
  let done = 0;
  child.on('message', (message: { ready?: boolean; done?: number }) => {
    ({ ready = ready, done = done } = message);
  });
  let asked = false;
  const unexpectedEnd = exited.then(() =>
    // After a requested stop the promise stays pending.
    asked ? new Promise<never>(() => undefined) : Promise.reject(endedUnasked(file, child)),
  );
  // Avoids an unhandled rejection: not every caller awaits it.
  unexpectedEnd.catch(() => undefined);
  const background: Background = {
    pid: child.pid!,
    done: () => done,
    unexpectedEnd,
    async end() {
      asked = true;
      child.kill('SIGTERM');
      await exited;
    },
  };
  try {
    await until(`${file} works`, () => {
      if (child.exitCode !== null) throw new Error(`It has ended with ${child.exitCode}.`);
      return ready;
    });
    return background;
  } catch (error) {
    // Stopped gracefully: it may have started a server that only it can stop.
    await background.end();
    throw error;
  }
}

function endedUnasked(file: string, { exitCode, signalCode }: ChildProcess): Error {
  return new Error(`${file} has ended by itself, with ${signalCode ?? exitCode}.`);
}
