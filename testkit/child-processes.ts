/** The processes of a run that may be broken off, when the code that started them is never reached again. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const running = new Set<ChildProcess>();
let over = false;

/** Remembers a process for {@link killRememberedProcesses} until it has ended; after that, kills it at once. */
export function rememberProcess<Child extends ChildProcess>(child: Child): Child {
  if (over) child.kill('SIGKILL');
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** Kills those that still run and waits until they have ended. None is started any more after it. */
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
