/** The child processes of a run, to be killed when it is aborted. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const running = new Set<ChildProcess>();
let over = false;

/**
 * Registers a process for {@link killRememberedProcesses} until it has ended; after that call,
 * kills it at once.
 */
export function rememberProcess<Child extends ChildProcess>(child: Child): Child {
  if (over) child.kill('SIGKILL');
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/**
 * Kills the running ones and waits until they have ended. Processes registered afterwards are
 * killed at once.
 */
export async function killRememberedProcesses(): Promise<void> {
  over = true;
  await Promise.all(
    [...running].map(async (child) => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }),
  );
}
