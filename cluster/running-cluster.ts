/**
 * The cluster that runs in a folder, as its PID files tell. For programs beside it: unlike `createCluster` this
 * needs no program of the servers, and no variable that says on which ports they are.
 */
import { resolve } from 'node:path';
import { findDaemon } from './daemon';
import { defaultDirectory, pidFileOf } from './directory';
import { loopback } from './ports';
import type { ServerName } from './server';

/** Servers that run, and how to reach them. */
export interface RunningCluster {
  /** An absolute path. */
  readonly directory: string;
  /** The variables with which the project's processes find those of its servers that run. */
  readonly environment: Readonly<Record<string, string>>;
  /** Those of these variables whose server does not run. */
  readonly missing: readonly string[];
}

/**
 * The cluster whose servers run now; undefined when none of them does.
 *
 * @throws ClusterError `BROKEN_PID_FILE`
 */
export async function findRunningCluster(
  folder: string = defaultDirectory(),
): Promise<RunningCluster | undefined> {
  const directory = resolve(folder);
  const addressOf = async (server: ServerName, port: string = server): Promise<string[]> => {
    const number = (await findDaemon(pidFileOf(directory, server)))?.ports[port];
    return number === undefined ? [] : [`${loopback}:${number}`];
  };
  const brokers = await Promise.all([
    addressOf('kafka'),
    addressOf('kafka-1', 'kafka'),
    addressOf('kafka-2', 'kafka2'),
    addressOf('kafka-3', 'kafka3'),
  ]);
  const found = {
    DATABASE_URL: (await addressOf('postgres')).map(
      (address) => `postgres://commerce:commerce@${address}/commerce`,
    ),
    REDIS_URL: (await addressOf('redis')).map((address) => `redis://${address}`),
    KAFKA_BROKERS: brokers.flat(),
    TEMPORAL_ADDRESS: await addressOf('temporal'),
  };
  const environment = Object.fromEntries(
    Object.entries(found)
      .filter(([, addresses]) => addresses.length > 0)
      .map(([name, addresses]) => [name, addresses.join(',')]),
  );
  const missing = Object.keys(found).filter((name) => !(name in environment));
  return Object.keys(environment).length === 0 ? undefined : { directory, environment, missing };
}
