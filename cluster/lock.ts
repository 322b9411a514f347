/** A lock in the file system: one process at a time; the lock of a dead process expires. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { withLinkedSignal } from '../platform/process/abort';
import { ClusterError } from './errors';

export interface LockOptions {
  /** The lock's path; its folder is created when missing. */
  readonly path: string;
  /** Aborts the wait; passed on to the work. */
  readonly signal: AbortSignal;
  /** Called once when the lock is taken. */
  readonly onWait?: () => void;
}

/**
 * Runs `work` under the lock. The signal passed to `work` is aborted when the lock is lost (this
 * process was suspended for longer than the lock lasts).
 */
export async function withLock<Result>(
  options: LockOptions,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  return withLinkedSignal(options.signal, async (linked) => {
    let lost = false;
    const release = await acquire(options, (error) => {
      lost = true;
      linked.abort(error);
    });
    try {
      return await work(linked.signal);
    } finally {
      // A lost lock belongs to another process by now.
      if (!lost) await release();
    }
  });
}

/** A lock not renewed for this long has expired: its process has died. */
const staleMs = 10_000;
const retryMs = 100;

async function acquire(
  options: LockOptions,
  onLost: (error: ClusterError) => void,
): Promise<() => Promise<void>> {
  await mkdir(dirname(options.path), { recursive: true });
  for (let attempt = 0; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await lock(options.path, {
        realpath: false,
        stale: staleMs,
        onCompromised: (cause) => onLost(lostLock(options.path, cause)),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    }
    if (attempt === 0) options.onWait?.();
    await delay(retryMs, undefined, { signal: options.signal });
  }
}

function lostLock(path: string, cause: Error): ClusterError {
  return new ClusterError('LOCK_LOST', `The lock ${path} was lost: run the command again.`, {
    cause,
  });
}
