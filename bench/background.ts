/** The processes of the other sides: real processes too, started and stopped by the suite. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { until } from '../test/integration/until';

/** A process that is running. */
export interface Background {
  readonly pid: number;
  /** The number that it told last in a message `{ done }`; 0 before. */
  done(): number;
  /** Asks it to end and waits until it has. */
  end(): Promise<void>;
}

/** Starts a program of this folder and waits until it has written `readyText`. */
export async function startInBackground(
  file: string,
  readyText: string,
  environment: Readonly<NodeJS.ProcessEnv>,
): Promise<Background> {
  const child = spawn(process.execPath, ['--require', 'tsx/cjs', path.join(__dirname, file)], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  let output = '';
  let done = 0;
  child.stdout!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.on('message', (message) => ({ done } = message as { done: number }));
  const background: Background = {
    pid: child.pid!,
    done: () => done,
    async end() {
      child.kill('SIGTERM');
      await exited;
    },
  };
  try {
    await until(`${file} says '${readyText}'`, () => {
      if (child.exitCode !== null) throw new Error(`It has ended with ${child.exitCode}.`);
      return output.includes(readyText);
    });
    return background;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
}
