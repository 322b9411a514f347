/** One process at a time: a lock in the file system, which a process that died does not keep. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { lock } from 'proper-lockfile';
import { withLinkedSignal } from '../platform/process/abort';
import { ClusterError } from './errors';

/** What `withLock` needs beside the work. */
export interface LockOptions {
  /** The lock's place; its folder is made when missing. */
  readonly path: string;
  /** Ends the wait, and is handed on to the work. */
  readonly signal: AbortSignal;
  /** Called once when another process has the lock. */
  readonly onWait?: () => void;
}

/**
 * Does `work` while no other process that asks for the same lock does its own. The signal handed to
 * `work` is aborted when the lock is lost (this process was suspended for longer than a lock keeps).
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
      // A lost lock belongs to somebody else by now.
      if (!lost) await release();
    }
  });
}

/** A lock not renewed for this long belonged to a process that died. */
const STALE_MS = 10_000;
const RETRY_MS = 100;

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
        stale: STALE_MS,
        onCompromised: (cause) => onLost(lostLock(options.path, cause)),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    }
    if (attempt === 0) options.onWait?.();
    await delay(RETRY_MS, undefined, { signal: options.signal });
  }
}

function lostLock(path: string, cause: Error): ClusterError {
  return new ClusterError('LOCK_LOST', `The lock ${path} was lost: run the command again.`, {
    cause,
  });
}
