/** Ensures that only one `npm start` runs in a cluster's folder. */
import { mkdir } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { findDaemon, writeDaemonFile } from './daemon';
import { ClusterError } from './errors';
import { withLock } from './lock';

/** Another `npm start` runs in the same folder. */
class AlreadyRunningError extends ClusterError {
  constructor(pid: number, directory: string) {
    super(
      'ALREADY_RUNNING',
      `npm start is already running in ${directory} (process ${pid}): use that one, or stop it with Ctrl-C. ` +
        'For a second one beside it, set CLUSTER_DIRECTORY, API_PORT and the CLUSTER_…_PORT variables.',
    );
  }
}

/**
 * Records this process as the supervisor of the cluster in `directory`. Records of dead processes are
 * ignored.
 *
 * @returns a function that removes the record.
 * @throws AlreadyRunningError
 */
export async function becomeOnlyStart(directory: string, signal: AbortSignal): Promise<() => void> {
  const file = join(directory, 'supervisor.json');
  await mkdir(directory, { recursive: true });
  await withLock({ path: join(directory, 'locks', 'supervisor'), signal }, async () => {
    const other = await findDaemon(file);
    if (other !== undefined) throw new AlreadyRunningError(other.pid, directory);
    await writeDaemonFile(file, process.pid);
  });
  return () => rmSync(file, { force: true });
}
