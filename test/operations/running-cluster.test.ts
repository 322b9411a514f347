import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { processIdentity } from '../../cluster/process-identity';
import { findRunningCluster } from '../../cluster/running-cluster';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'running-cluster-'));
});

afterEach(() => rm(directory, { recursive: true }));

async function writePidFile(
  server: string,
  ports: Record<string, number>,
  identity?: string,
): Promise<void> {
  const { pid } = process;
  const record = { pid, ports, identity: identity ?? (await processIdentity(pid)) };
  await mkdir(join(directory, server));
  await writeFile(join(directory, server, 'process.json'), JSON.stringify(record));
}

test('a folder without a running server has no cluster', async () => {
  await writePidFile('postgres', { postgres: 15432 }, 'of another process');

  expect(await findRunningCluster(directory)).toBeUndefined();
});

test('servers are found on the ports with which they were started', async () => {
  await writePidFile('postgres', { postgres: 21001 });
  await writePidFile('kafka', { kafka: 21002, kafkaController: 21003 });
  await writePidFile('temporal', { temporal: 21004, temporalUi: 21005 });

  expect(await findRunningCluster(directory)).toEqual({
    directory,
    environment: {
      DATABASE_URL: 'postgres://commerce:commerce@127.0.0.1:21001/commerce',
      KAFKA_BROKERS: '127.0.0.1:21002',
      TEMPORAL_ADDRESS: '127.0.0.1:21004',
    },
    missing: ['REDIS_URL'],
  });
});

test('of three brokers, those that run are named', async () => {
  await writePidFile('kafka-1', { kafka: 21001, kafkaController: 21002 });
  await writePidFile('kafka-3', { kafka3: 21003, kafka3Controller: 21004 });

  expect((await findRunningCluster(directory))?.environment).toEqual({
    KAFKA_BROKERS: '127.0.0.1:21001,127.0.0.1:21003',
  });
});
