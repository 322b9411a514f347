/** How the local Temporal is started. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ServerContext } from '../../cluster/server';
import { temporal } from '../../cluster/servers/temporal';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'temporal-'));
});

afterEach(() => rm(directory, { recursive: true }));

async function parameters(): Promise<readonly string[]> {
  const context = { directory, ports: { temporal: 1, temporalUi: 2 } } as ServerContext;
  return (await temporal.prepare('temporal', context)).parameters;
}

test('tasks are read more often than the 20 times a second that one shard has by default', async () => {
  expect(await parameters()).toContain('history.transferProcessorMaxPollRPS=200');
});

const readOne = 'matching.numTaskqueueReadPartitions=1';

test('a cluster without data has one partition for each task queue, and keeps it', async () => {
  expect(await parameters()).toContain(readOne);
  await writeFile(path.join(directory, 'temporal.sqlite'), '');
  expect(await parameters()).toContain(readOne);
});

test('data of before keep their partitions: what waits in one is still read', async () => {
  await writeFile(path.join(directory, 'temporal.sqlite'), '');
  expect(await parameters()).not.toContain(readOne);
});
