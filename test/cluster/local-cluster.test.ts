/** The whole local cluster, with its real servers, on ports and in a folder of its own. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { Client as TemporalClient, Connection } from '@temporalio/client';
import { Client } from 'pg';
import { createCluster, findFreePorts } from '../../cluster/local-cluster';
import type { Cluster, ServerName, ServerStatus } from '../../cluster/local-cluster';
import { until } from '../../testkit/until';

let directory: string;
let cluster: Cluster;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cluster-test-'));
  cluster = createCluster({ directory, ports: await findFreePorts() });
});

afterAll(async () => {
  await cluster.reset();
  await rm(directory, { recursive: true, force: true });
});

describe('a cluster', () => {
  beforeAll(async () => {
    await cluster.up();
  }, 120_000);

  it('answers on every server once it is up', async () => {
    const states = (await cluster.status()).map(({ name, state }) => [name, state]);

    expect(states).toEqual(cluster.servers.map((name) => [name, 'running']));
  });

  it('leaves running servers alone when started again', async () => {
    const before = await pids();

    await expect(cluster.up()).resolves.toEqual([]);

    expect(await pids()).toEqual(before);
  });

  it('lets the owner of the database create databases and roles', async () => {
    const role = await postgres(
      'SELECT rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user',
    );

    expect(role).toEqual([{ rolcreatedb: true, rolcreaterole: true }]);
  });

  it('keeps Postgres as careful with data as it is by default', async () => {
    const settings = await postgres(
      `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit,
              current_setting('full_page_writes') AS pages`,
    );

    expect(settings).toEqual([{ fsync: 'on', commit: 'on', pages: 'on' }]);
  });

  it('stops and starts one server without touching the others', async () => {
    const before = await pids();

    await expect(cluster.stop('redis')).resolves.toBe(true);
    const stopped = await statusOf('redis');
    await expect(cluster.start('redis')).resolves.toBe(true);

    expect(stopped.state).toBe('stopped');
    expect(await pids()).toEqual({ ...before, redis: (await statusOf('redis')).pid });
  });

  it.each(['kafka', 'postgres', 'redis'] as const)(
    'starts %s the moment it was killed',
    async (name) => {
      process.kill((await statusOf(name)).pid as number, 'SIGKILL');

      await expect(cluster.start(name)).resolves.toBe(true);

      expect((await statusOf(name)).state).toBe('running');
    },
  );

  it('distinguishes a frozen server from a running one, and can still stop it', async () => {
    const { pid } = await statusOf('redis');
    process.kill(pid as number, 'SIGSTOP');

    const frozen = await statusOf('redis');
    await cluster.stop('redis');
    await cluster.start('redis');

    expect(frozen.state).toBe('not answering');
    expect((await statusOf('redis')).state).toBe('running');
  });

  it('makes a newly registered Temporal namespace usable within seconds', async () => {
    await withTemporal(async (connection) => {
      await connection.workflowService.registerNamespace({
        namespace: 'cluster-test',
        workflowExecutionRetentionPeriod: { seconds: 86_400 as never },
      });
      const client = new TemporalClient({ connection, namespace: 'cluster-test' });
      const options = { taskQueue: 'none', workflowId: 'first' };
      const started = await until('a workflow can be started', () =>
        client.workflow.start('any', options),
      );
      expect(started.workflowId).toBe('first');
    });
  });

  it('brings the data of Postgres, Kafka and Temporal back after down and up, but no cache', async () => {
    await postgres('CREATE TABLE kept (word text)');
    await postgres(`INSERT INTO kept VALUES ('still here')`);
    await produce('kept', 'still here');
    await redis((client) => client.set('cached', 'gone'));
    await withTemporal((connection) =>
      new TemporalClient({ connection }).workflow.start('any', {
        taskQueue: 'none',
        workflowId: 'kept',
      }),
    );

    await cluster.down();
    const states = (await cluster.status()).map(({ state }) => state);
    await cluster.up();

    expect(new Set(states)).toEqual(new Set(['stopped']));
    expect(await postgres('SELECT word FROM kept')).toEqual([{ word: 'still here' }]);
    expect(await consumeFirst('kept')).toBe('still here');
    expect(await redis((client) => client.get('cached'))).toBeNull();
    const workflow = await withTemporal((connection) =>
      new TemporalClient({ connection }).workflow.getHandle('kept').describe(),
    );
    expect(workflow.status.name).toBe('RUNNING');
  }, 90_000);
});

describe('a cluster that cannot come up', () => {
  beforeAll(() => cluster.down());

  it('names the port that is in use and the variable that sets it, and leaves nothing running', async () => {
    const occupant = createServer().listen(cluster.ports.kafka, '127.0.0.1');

    await expect(cluster.up()).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: expect.stringMatching(
        new RegExp(`Port ${cluster.ports.kafka}, which kafka needs.*CLUSTER_KAFKA_PORT`),
      ) as string,
    });

    await new Promise((resolve) => occupant.close(resolve));
    expect(await runningServers()).toEqual([]);
  });

  it('shows the end of the log of a server that ends at once, and leaves nothing running', async () => {
    const broken = join(directory, 'broken-redis');
    await writeFile(broken, '#!/bin/sh\necho "no memory left"\nexit 1\n', { mode: 0o755 });
    process.env['CLUSTER_REDIS_PROGRAM'] = broken;
    try {
      await expect(cluster.up()).rejects.toMatchObject({
        code: 'SERVER_START',
        message: expect.stringMatching(/redis ended.*server\.log:[^]*no memory left/) as string,
      });
    } finally {
      delete process.env['CLUSTER_REDIS_PROGRAM'];
    }
    expect(await runningServers()).toEqual([]);
  });

  it('stops what it started when it is given up', async () => {
    const interruption = new AbortController();
    const reports: string[] = [];
    const observed = createCluster({
      directory,
      ports: cluster.ports,
      report: (server, step) => {
        reports.push(`${server} ${step}`);
        if (step.startsWith('answers')) interruption.abort(new Error('interrupted'));
      },
    });

    await expect(observed.up({ signal: interruption.signal })).rejects.toThrow('interrupted');

    expect(reports.some((line) => line.includes('answers'))).toBe(true);
    expect(await runningServers()).toEqual([]);
  });
});

async function statusOf(name: ServerName): Promise<ServerStatus> {
  const status = (await cluster.status()).find((server) => server.name === name);
  if (status === undefined) throw new Error(`no status of ${name}`);
  return status;
}

async function pids(): Promise<Record<string, number | undefined>> {
  return Object.fromEntries((await cluster.status()).map(({ name, pid }) => [name, pid]));
}

async function runningServers(): Promise<ServerName[]> {
  return (await cluster.status())
    .filter(({ state }) => state !== 'stopped')
    .map(({ name }) => name);
}

async function postgres(query: string): Promise<unknown[]> {
  const client = new Client({ connectionString: cluster.environment.DATABASE_URL });
  await client.connect();
  try {
    return (await client.query(query)).rows as unknown[];
  } finally {
    await client.end();
  }
}

async function redis<Result>(work: (client: Redis) => Promise<Result>): Promise<Result> {
  const client = new Redis(cluster.environment.REDIS_URL);
  try {
    return await work(client);
  } finally {
    client.disconnect();
  }
}

function kafka(): Kafka {
  return new Kafka({
    brokers: cluster.environment.KAFKA_BROKERS.split(','),
    logLevel: logLevel.NOTHING,
  });
}

async function produce(topic: string, value: string): Promise<void> {
  const admin = kafka().admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  await admin.disconnect();
  const producer = kafka().producer();
  await producer.connect();
  await producer.send({ topic, messages: [{ value }] });
  await producer.disconnect();
}

async function consumeFirst(topic: string): Promise<string | undefined> {
  const consumer = kafka().consumer({ groupId: 'cluster-test' });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  try {
    return await new Promise((resolve, reject) => {
      consumer
        .run({
          eachMessage: ({ message }) => Promise.resolve(resolve(message.value?.toString())),
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

async function withTemporal<Result>(
  work: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const connection = await Connection.connect({ address: cluster.environment.TEMPORAL_ADDRESS });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
