/** All processes of the project and all servers of the cluster, kept running together. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { asDevelopmentUser } from '../platform/postgres/development-users';
import { createBackoff, pause, type Backoff } from '../platform/process/waiting';
import { stopDaemon, writeDaemonFile } from './daemon';
import { messageOf } from './errors';
import { urlOf, type Addresses } from './process-addresses';
import type { Cluster, ServerName } from './local-cluster';
import { processNames, stopOrder, type ProcessName } from './processes';
import type { Report } from './progress';
import { restartBackoff, superviseProcess, type SupervisedProcess } from './supervised-process';

export interface ProcessesOptions {
  /** The cluster's folder. */
  readonly directory: string;
  /** The environment of the processes; each gets a user of its own in `DATABASE_URL`. */
  readonly environment: NodeJS.ProcessEnv;
  readonly addresses: Addresses;
  readonly report: Report;
}

/** One process of each kind, kept running. */
export interface SupervisedProcesses {
  /** Resolves when each of them has been ready. */
  whenReady(signal: AbortSignal): Promise<void>;
  /** Stops all gracefully, and removes their records. */
  stop(): Promise<void>;
  /** Kills all. */
  kill(): void;
}

/** The folder of the processes' logs. */
export function logFolder(directory: string): string {
  return join(directory, 'logs');
}

/**
 * Starts one process of each kind and keeps them running. `processes.json` in the cluster's folder
 * maps their names to process IDs; a process that is being restarted keeps its old ID there until
 * it has its new one.
 */
export function superviseProcesses(options: ProcessesOptions): SupervisedProcesses {
  const { directory, environment, addresses, report } = options;
  const table = openProcessTable(directory);
  const supervise = (name: ProcessName): SupervisedProcess =>
    superviseProcess(name, {
      environment: {
        ...environment,
        DATABASE_URL: asDevelopmentUser(environment['DATABASE_URL']!, name),
        [name === 'api' ? 'API_PORT' : 'METRICS_PORT']: String(addresses[name].port),
      },
      url: urlOf(addresses[name]),
      report,
      logFile: join(logFolder(directory), `${fileNameOf(name)}.log`),
      onStarted: (pid) => {
        table.set(name, pid).catch((error: unknown) => {
          report(name, `cannot record its process ID: ${messageOf(error)}`);
        });
      },
    });
  const processes = new Map(processNames.map((name) => [name, supervise(name)]));
  return {
    async whenReady(signal) {
      await Promise.all([...processes.values()].map((each) => each.whenReady(signal)));
    },
    async stop() {
      for (const names of stopOrder) {
        await Promise.all(names.map(async (name) => processes.get(name)?.stop()));
      }
      table.remove();
    },
    kill() {
      for (const each of processes.values()) each.kill();
    },
  };
}

/**
 * Stops orphaned processes of a killed supervisor; a process that has reused one of their IDs is left
 * alone.
 */
export async function stopAbandonedProcesses(directory: string, report: Report): Promise<void> {
  const stop = async (name: ProcessName): Promise<void> => {
    const wasRunning = await stopDaemon(recordFile(directory, name), 'SIGTERM', stopPatienceMs);
    if (wasRunning) report(name, 'left over from an earlier start; stopped');
  };
  await Promise.all(processNames.map(stop));
  rmSync(tableFile(directory), { force: true });
}

/** Keeps the cluster's servers running until aborted: crashed ones are restarted. */
export async function superviseServers(
  cluster: Cluster,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const underWay = new Map<ServerName, Promise<void>>();
  const backoffs = new Map<ServerName, Backoff>();
  const revive = async (name: ServerName): Promise<void> => {
    const backoff = backoffs.get(name) ?? createBackoff(restartBackoff);
    backoffs.set(name, backoff);
    try {
      // One that somebody stops is for a moment like one that crashed: it has ended, and is still on record.
      await delay(serverPollMs, undefined, { signal });
      if (!(await cluster.ended()).includes(name)) return;
      const waitMs = backoff.next();
      report(name, `crashed; restarting in ${waitMs / 1000} s`);
      await delay(waitMs, undefined, { signal });
      await cluster.revive(name, { signal });
      backoff.reset();
    } catch (error) {
      if (!signal.aborted) report(name, messageOf(error));
    } finally {
      underWay.delete(name);
    }
  };
  while (!signal.aborted) {
    try {
      for (const name of await cluster.ended()) {
        if (!underWay.has(name)) underWay.set(name, revive(name));
      }
    } catch (error) {
      report('cluster', messageOf(error));
    }
    await pause(serverPollMs, signal);
  }
  await Promise.all(underWay.values());
}

const stopPatienceMs = 20_000;
const serverPollMs = 300;

interface ProcessTable {
  set(name: ProcessName, pid: number): Promise<void>;
  remove(): void;
}

// The public table has IDs only. Beside it, a record per process also holds its identity, so that
// `stopAbandonedProcesses` spares a later process with the same ID.
function openProcessTable(directory: string): ProcessTable {
  const pids: Partial<Record<ProcessName, number>> = {};
  mkdirSync(recordFolder(directory), { recursive: true });
  return {
    async set(name, pid) {
      pids[name] = pid;
      // Synchronous and atomic, so that no reader sees a partial table, and writes keep their
      // order.
      const draft = `${tableFile(directory)}.new`;
      writeFileSync(draft, `${JSON.stringify(pids, undefined, 2)}\n`);
      renameSync(draft, tableFile(directory));
      await writeDaemonFile(recordFile(directory, name), pid);
    },
    remove() {
      rmSync(tableFile(directory), { force: true });
      rmSync(recordFolder(directory), { recursive: true, force: true });
    },
  };
}

function tableFile(directory: string): string {
  return join(directory, 'processes.json');
}

function recordFolder(directory: string): string {
  return join(directory, 'processes');
}

function recordFile(directory: string, name: ProcessName): string {
  return join(recordFolder(directory), `${fileNameOf(name)}.json`);
}

/** Some file systems do not allow a colon in names. */
function fileNameOf(name: ProcessName): string {
  return name.replace(':', '-');
}
