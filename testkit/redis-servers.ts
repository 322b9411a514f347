/** Redis servers beside that of the test run: replicas, sentinels, nodes of a cluster. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';
import { findFreePorts } from '../cluster/local-cluster';
import { findDistinctFreePorts, loopback } from '../cluster/ports';
import { redis } from '../cluster/servers/redis';
import { rememberProcess } from './child-processes';
import { until } from './until';

/** A server that is running. */
export interface RedisServer {
  readonly port: number;
  /** A connection of the test's own, for commands of administrators. */
  readonly admin: Redis;
  /** Kills it and deletes its data. May be called again. */
  stop(): Promise<void>;
}

/**
 * Starts a server on a free port of 127.0.0.1.
 *
 * @param lines of its configuration, besides where it listens and that it keeps nothing on disk
 */
export async function startRedisServer(
  lines: readonly string[] = [],
  kind: 'server' | 'sentinel' = 'server',
): Promise<RedisServer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await tryToStart(lines, kind);
    } catch (error) {
      if (!(error instanceof RedisEndedError) || tries === maxTries) throw error;
    }
  }
}

/** It has ended while it was starting: somebody has taken one of its ports. */
class RedisEndedError extends Error {
  override readonly name = 'RedisEndedError';
  readonly code = 'REDIS_ENDED';
}

// A node of a cluster also needs the port that is ten thousand above its own, which any connection may have.
const maxTries = 5;

async function tryToStart(
  lines: readonly string[],
  kind: 'server' | 'sentinel',
): Promise<RedisServer> {
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-redis-'));
  const ports = await findFreePorts();
  const [port] = await findDistinctFreePorts(1);
  const program = await redis.find({
    directory,
    ports,
    report: () => undefined,
    signal: new AbortController().signal,
  });
  const file = path.join(directory, 'redis.conf');
  const common = [`port ${port}`, `bind ${loopback}`, `dir ${directory}`];
  const volatile = kind === 'server' ? ['save ""', 'appendonly no'] : [];
  await writeFile(file, [...common, ...volatile, ...lines, ''].join('\n'));
  const child = rememberProcess(
    spawn(program, [file, ...(kind === 'sentinel' ? ['--sentinel'] : [])], { stdio: 'ignore' }),
  );
  const exited = once(child, 'exit');
  const ended = exited.then(([exitCode]) => {
    throw new RedisEndedError(`Redis on port ${port} ended with exit code ${String(exitCode)}.`);
  });
  ended.catch(() => undefined);
  const admin = new Redis({ host: loopback, port: port!, retryStrategy: () => 100 });
  // Until it listens, and once it is stopped; the command that is waited for tells.
  admin.on('error', () => undefined);
  const stop = async (): Promise<void> => {
    admin.disconnect();
    child.kill('SIGKILL');
    await exited;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await Promise.race([until('it answers', () => admin.ping()), ended]);
    return { port: port!, admin, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Two nodes of a Redis Cluster, each with half of the slots. */
export async function startRedisCluster(): Promise<readonly RedisServer[]> {
  const lines = ['cluster-enabled yes', 'cluster-node-timeout 2000'];
  const nodes = await Promise.all([startRedisServer(lines), startRedisServer(lines)]);
  const [one, other] = nodes;
  const slots = Array.from({ length: 16_384 }, (_, slot) => slot);
  await one.admin.cluster('ADDSLOTS', ...slots.slice(0, 8_192));
  await other.admin.cluster('ADDSLOTS', ...slots.slice(8_192));
  await one.admin.cluster('MEET', loopback, other.port);
  for (const { admin } of nodes) {
    await until('the cluster is whole', async () =>
      (await admin.cluster('INFO')).includes('cluster_state:ok'),
    );
  }
  return nodes;
}
