/** Temporal's development server with its Web UI, keeping its state in a SQLite file. */
import { existsSync } from 'node:fs';
import { readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { runCommand } from '../command';
import type { Launch } from '../daemon';
import { ProgramNotFoundError } from '../errors';
import { findOrInstall, onPathWithVersion } from '../install';
import type { InstallWay, Recipe } from '../install';
import { loopback, type ClusterPorts } from '../ports';
import type { Server, ServerContext } from '../server';

export const temporal: Server = {
  name: 'temporal',
  ports: ['temporal', 'temporalUi'],
  find: (context) => findOrInstall(recipe, context.report, context.signal),
  prepare,
  healthy,
  stopSignal: 'SIGTERM',
};

const cliVersion = '1.5.1';

const goInstallWay: InstallWay = {
  step: 'building with Go (first time only, takes minutes)',
  fill: async (directory, signal) => {
    await runCommand(
      'go',
      ['install', '-ldflags', '-s -w', `github.com/temporalio/cli/cmd/temporal@v${cliVersion}`],
      {
        cwd: directory,
        // Build offline: download no other Go toolchain, and need no C compiler.
        environment: { GOBIN: directory, GOTOOLCHAIN: 'local', CGO_ENABLED: '0' },
        signal,
      },
    );
  },
};

/** Temporal's SDK downloads the server when it starts one; this keeps the download. */
const downloadWay: InstallWay = {
  step: 'downloading it (first time only)',
  fill: async (directory) => {
    const { TestWorkflowEnvironment } = await import('@temporalio/testing');
    const environment = await TestWorkflowEnvironment.createLocal({
      server: { executable: { type: 'cached-download', downloadDir: directory } },
    });
    await environment.teardown();
    const [downloaded] = await readdir(directory);
    if (downloaded === undefined) throw new ProgramNotFoundError('nothing was downloaded');
    await rename(join(directory, downloaded), join(directory, 'temporal'));
  },
};

const recipe: Recipe = {
  name: 'temporal',
  variable: 'CLUSTER_TEMPORAL_PROGRAM',
  variableHolds: 'the program temporal',
  onPath: () => onPathWithVersion('temporal', /Server (\d+)\.(\d+)/, [1, 29]),
  cacheEntry: `temporal-${cliVersion}-${process.platform}-${process.arch}`,
  program: 'temporal',
  ways: [goInstallWay, downloadWay],
  advice: `install the Temporal CLI ${cliVersion} or later, or Go 1.25 or later`,
};

/** Nearly as fast as in memory, and consistent after `kill -9`. */
const sqlitePragmas = ['journal_mode=WAL', 'synchronous=NORMAL'];

/**
 * Rate limits protect a shared server; here they would only cap benchmarks and tests. A new namespace, and
 * a new search attribute, can be used once the namespaces are read anew. By default a development server
 * reads the attributes from its store for every workflow, and a workflow's tasks at most 20 times a second:
 * see docs/decisions/0037-the-local-temporal.md.
 */
const forDevelopment: Readonly<Record<string, unknown>> = {
  'frontend.rps': 100_000,
  'frontend.namespaceRPS': 100_000,
  'frontend.namespaceRPS.visibility': 10_000,
  'frontend.namespaceCount': 20_000,
  'frontend.rps.namespaceReplicationInducingAPIs': 1_000,
  'frontend.namespaceRPS.namespaceReplicationInducingAPIs': 1_000,
  'frontend.persistenceMaxQPS': 200_000,
  'history.rps': 100_000,
  'history.persistenceMaxQPS': 200_000,
  'history.transferProcessorMaxPollRPS': 200,
  'matching.rps': 100_000,
  'matching.persistenceMaxQPS': 200_000,
  'system.namespaceCacheRefreshInterval': '250ms',
  'system.forceSearchAttributesCacheRefreshOnRead': false,
};

/**
 * A garbage collection once the heap is five times of what is alive, instead of twice: memory for processor
 * time. Towards the limit it collects as often as it has to. See docs/decisions/0037-the-local-temporal.md.
 */
const garbageCollection = { GOGC: '400', GOMEMLIMIT: '1GiB' };

/** Task queues of one partition, instead of four, give out tasks at once and in the order in which they came. */
const onePartition = {
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
};

async function prepare(program: string, { directory, ports }: ServerContext): Promise<Launch> {
  const database = join(directory, 'temporal.sqlite');
  const dynamicConfiguration = {
    ...forDevelopment,
    ...((await hasOnePartition(directory, database)) ? onePartition : {}),
  };
  return {
    program,
    environment: garbageCollection,
    parameters: [
      ...['server', 'start-dev'],
      ...['--ip', loopback, '--port', String(ports.temporal)],
      ...['--ui-ip', loopback, '--ui-port', String(ports.temporalUi)],
      ...['--db-filename', database],
      ...sqlitePragmas.flatMap((pragma) => ['--sqlite-pragma', pragma]),
      ...Object.entries(dynamicConfiguration).flatMap(([key, value]) => [
        '--dynamic-config-value',
        `${key}=${JSON.stringify(value)}`,
      ]),
    ],
  };
}

/** Data of before may have tasks in the other partitions, which nobody would read any more. */
async function hasOnePartition(directory: string, database: string): Promise<boolean> {
  const mark = join(directory, 'one-partition');
  if (!existsSync(database)) await writeFile(mark, '');
  return existsSync(mark);
}

const answerWithinMs = 3_000;

async function healthy(ports: ClusterPorts): Promise<void> {
  const connection = await Connection.connect({
    address: `${loopback}:${ports.temporal}`,
    connectTimeout: answerWithinMs,
  });
  try {
    await connection.withDeadline(Date.now() + answerWithinMs, () =>
      connection.workflowService.describeNamespace({ namespace: 'default' }),
    );
  } finally {
    await connection.close();
  }
  const signal = AbortSignal.timeout(answerWithinMs);
  const webUi = await fetch(`http://${loopback}:${ports.temporalUi}/`, { signal });
  await webUi.arrayBuffer();
  if (!webUi.ok) throw new Error(`the Web UI returned ${webUi.status}`);
}
