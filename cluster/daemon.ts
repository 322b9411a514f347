/** Daemons: servers that outlive the command that started them, tracked by a PID file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { pollUntil } from '../platform/process/waiting';
import { ClusterError } from './errors';
import { processIdentity } from './process-identity';

/** What to run as a server. */
export interface Launch {
  readonly program: string;
  readonly parameters: readonly string[];
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Run as this user instead of the current one. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
}

/** Where a server's PID and output are kept. */
export interface DaemonFiles {
  readonly pidFile: string;
  readonly logFile: string;
}

/** A running server. */
export interface Daemon {
  readonly pid: number;
  /** The ports that it was started with, by name. */
  readonly ports: Readonly<Record<string, number>>;
}

/** Starts a server that outlives this process, and writes its PID file. */
export async function startDaemon(
  launch: Launch,
  files: DaemonFiles,
  ports: Readonly<Record<string, number>>,
): Promise<Daemon> {
  await keepLogSmall(files.logFile);
  const log = await open(files.logFile, 'a');
  try {
    const child = spawn(launch.program, launch.parameters, {
      cwd: launch.cwd,
      env: { ...process.env, ...launch.environment },
      ...launch.user,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    await once(child, 'spawn');
    child.unref();
    const pid = child.pid as number;
    await writePidFile(files.pidFile, { pid, ports, identity: await processIdentity(pid) });
    return { pid, ports };
  } finally {
    await log.close();
  }
}

/** The server of the PID file; undefined when it has ended, or its ID now belongs to another process. */
export async function findDaemon(pidFile: string): Promise<Daemon | undefined> {
  const record = await readPidFile(pidFile);
  if (record?.identity === undefined) return undefined;
  return (await processIdentity(record.pid)) === record.identity ? record : undefined;
}

/**
 * Stops the server: `signal` first, SIGKILL after `patience` ms.
 *
 * @returns whether one was running.
 * @throws ClusterError when it survives SIGKILL.
 */
export async function stopDaemon(
  pidFile: string,
  signal: NodeJS.Signals,
  patience: number,
): Promise<boolean> {
  const daemon = await findDaemon(pidFile);
  if (daemon !== undefined) {
    send(daemon.pid, signal);
    // A frozen (SIGSTOP) server cannot act on a signal.
    send(daemon.pid, 'SIGCONT');
    if (!(await hasEnded(pidFile, patience))) {
      send(daemon.pid, 'SIGKILL');
      if (!(await hasEnded(pidFile, killPatienceMs))) throw unstoppable(daemon.pid, pidFile);
    }
  }
  await rm(pidFile, { force: true });
  return daemon !== undefined;
}

/** Whether the server of the PID file has crashed: `stopDaemon` removes the file, a crash leaves it. */
export async function hasEndedUnasked(pidFile: string): Promise<boolean> {
  const record = await readPidFile(pidFile);
  return record !== undefined && (await findDaemon(pidFile)) === undefined;
}

/** Does `work`; when that fails, restores the PID file. */
export async function keepPidFile(pidFile: string, work: () => Promise<void>): Promise<void> {
  const record = await readPidFile(pidFile);
  try {
    await work();
  } catch (error) {
    if (record !== undefined) await writePidFile(pidFile, record);
    throw error;
  }
}

/** Writes a PID file for a running process, for `findDaemon` and `stopDaemon`. */
export async function writeDaemonFile(pidFile: string, pid: number): Promise<void> {
  await writePidFile(pidFile, { pid, ports: {}, identity: await processIdentity(pid) });
}

/** The last lines of a log file; empty when there is none. */
export async function logTail(logFile: string, lines = 20): Promise<string> {
  const text = await readFile(logFile, 'utf8').catch(emptyWhenMissing);
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

interface PidRecord extends Daemon {
  /** Undefined when the process had already ended. */
  readonly identity?: string | undefined;
}

const killPatienceMs = 5_000;
const endPollMs = 50;
const largeLogBytes = 16 * 1024 * 1024;

async function hasEnded(pidFile: string, within: number): Promise<boolean> {
  const look = async (): Promise<boolean> => (await findDaemon(pidFile)) === undefined;
  return (await pollUntil(look, { timeoutMs: within, pollMs: endPollMs })) ?? false;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between the check and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function writePidFile(pidFile: string, record: PidRecord): Promise<void> {
  const temporary = `${pidFile}.new`;
  await writeFile(temporary, `${JSON.stringify(record)}\n`);
  await rename(temporary, pidFile);
}

async function readPidFile(pidFile: string): Promise<PidRecord | undefined> {
  const text = await readFile(pidFile, 'utf8').catch(emptyWhenMissing);
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as PidRecord;
  } catch (cause) {
    throw new ClusterError('BROKEN_PID_FILE', `${pidFile} is not JSON: delete it.`, { cause });
  }
}

async function keepLogSmall(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > largeLogBytes) await rename(logFile, `${logFile}.previous`);
}

function emptyWhenMissing(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return '';
  throw error;
}

function unstoppable(pid: number, pidFile: string): ClusterError {
  return new ClusterError(
    'SERVER_STOP',
    `The process ${pid} of ${pidFile} survived SIGKILL: inspect it with \`ps -p ${pid}\`.`,
  );
}
