/** Distinguishes a process from a later one that reuses its ID. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/**
 * A stable identity of the process, different for every later process with the same ID; undefined
 * when no such process runs. A zombie does not, unless threads of it are still ending: until the last
 * one has, the process keeps its ports and locked files.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  return process.platform === 'linux' ? linuxIdentity(pid) : portableIdentity(pid);
}

/** Positions in `/proc/PID/stat` after the program's name in parentheses. */
const stateField = 0;
const threadsField = 17;
const startTimeField = 19;

async function linuxIdentity(pid: number): Promise<string | undefined> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (hasEnded(fields[stateField], Number(fields[threadsField]))) return undefined;
  // The start time is relative to the boot, so it alone could repeat.
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
  return `${boot.trim()}:${fields[startTimeField]}`;
}

/** A killed process is a zombie as soon as its first thread has ended. */
function hasEnded(state: string | undefined, threads: number): boolean {
  return state === 'X' || (state === 'Z' && threads <= 1);
}

async function portableIdentity(pid: number): Promise<string | undefined> {
  try {
    const columns = ['-o', 'stat=', '-o', 'lstart=', '-p', String(pid)];
    const { stdout } = await promisify(execFile)('ps', columns, { env: { LC_ALL: 'C' } });
    const [state = '', ...start] = stdout.trim().split(/\s+/);
    return state === '' || state.startsWith('Z') ? undefined : start.join(' ');
  } catch (error) {
    // `ps` exits with 1 when there is no such process.
    if ((error as { code?: unknown }).code === 1) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ESRCH';
}
