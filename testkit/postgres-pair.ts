/**
 * A PostgreSQL and its standby, beside those of the test run: what is committed is on both, and a
 * failover kills the one and promotes the other.
 */
import { chown, chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { runCommand } from '../cluster/command';
import { startDaemon, stopDaemon, type Launch } from '../cluster/daemon';
import { findFreePorts } from '../cluster/local-cluster';
import { findDistinctFreePorts, loopback } from '../cluster/ports';
import type { ServerContext } from '../cluster/server';
import { postgres } from '../cluster/servers/postgres';
import { until } from './until';

/** A running pair. */
export interface PostgresPair {
  /** Of the one that is the primary at first. */
  readonly primaryUrl: string;
  /** `host:port` of the primary and of the standby. */
  readonly hosts: readonly [primary: string, standby: string];
  /** Kills the primary and promotes the standby. Resolves once that takes writes. */
  failOver(): Promise<void>;
  /** Stops both and deletes their data. */
  stop(): Promise<void>;
}

export async function startPostgresPair(): Promise<PostgresPair> {
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-pair-'));
  await chmod(directory, 0o755);
  const ports = await findFreePorts();
  const [standbyPort] = await findDistinctFreePorts(1);
  const pidFiles = { primary: pidFileOf('primary'), standby: pidFileOf('standby') };
  function pidFileOf(name: string): string {
    return path.join(directory, `${name}.json`);
  }
  const start = (name: 'primary' | 'standby', launch: Launch): Promise<unknown> =>
    startDaemon(
      launch,
      { pidFile: pidFiles[name], logFile: path.join(directory, `${name}.log`) },
      {},
    );
  const stop = async (): Promise<void> => {
    await Promise.all(
      Object.values(pidFiles).map((pidFile) => stopDaemon(pidFile, 'SIGQUIT', 10_000)),
    );
    await rm(directory, { recursive: true, force: true });
  };
  const hosts = [`${loopback}:${ports.postgres}`, `${loopback}:${standbyPort}`] as const;
  try {
    const context: ServerContext = {
      directory: path.join(directory, 'primary'),
      ports,
      report: () => undefined,
      signal: new AbortController().signal,
    };
    await mkdir(context.directory);
    const primary = await postgres.prepare(await postgres.find(context), context);
    await start('primary', primary);
    await until('the primary answers', () => query(hosts[0], 'SELECT 1'));
    const data = path.join(directory, 'standby');
    await copyWhileRunning(hosts[0], primary, data);
    await start('standby', standbyOf(primary, data, ports.postgres, standbyPort!));
    await waitForStandby(hosts[0]);
    return {
      primaryUrl: urlOf(hosts[0]),
      hosts,
      async failOver() {
        await stopDaemon(pidFiles.primary, 'SIGKILL', 5_000);
        await query(hosts[1], 'SELECT pg_promote()');
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function urlOf(host: string): string {
  return `postgres://commerce:commerce@${host}/commerce`;
}

async function query<Row extends object>(host: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: urlOf(host), connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

// https://www.postgresql.org/docs/18/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP
async function copyWhileRunning(host: string, { cwd, user }: Launch, to: string): Promise<void> {
  const client = new Client({ connectionString: urlOf(host) });
  await client.connect();
  try {
    await client.query(`SELECT pg_backup_start('standby', fast => true)`);
    await runCommand('cp', ['-a', cwd!, to]);
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)',
    );
    await rm(path.join(to, 'postmaster.pid'));
    const files = { backup_label: rows[0]!.labelfile, 'standby.signal': '' };
    for (const [name, content] of Object.entries(files)) {
      await writeFile(path.join(to, name), content);
      if (user !== undefined) await chown(path.join(to, name), user.uid, user.gid);
    }
  } finally {
    await client.end();
  }
}

function standbyOf(primary: Launch, data: string, primaryPort: number, port: number): Launch {
  const connection = `host=${loopback} port=${primaryPort} user=commerce password=commerce`;
  const parameters = primary.parameters.map((each) => {
    if (each === primary.cwd) return data;
    return each === `port=${primaryPort}` ? `port=${port}` : each;
  });
  return {
    ...primary,
    cwd: data,
    parameters: [...parameters, '-c', `primary_conninfo=${connection}`],
  };
}

/** From now on a commit is acknowledged once the standby has it. */
async function waitForStandby(primary: string): Promise<void> {
  await until('the standby streams', async () => {
    const rows = await query(primary, `SELECT FROM pg_stat_replication WHERE state = 'streaming'`);
    return rows.length === 1;
  });
  await query(primary, `ALTER SYSTEM SET synchronous_standby_names = '*'`);
  await query(primary, 'SELECT pg_reload_conf()');
}
