/** The search attributes on a real Temporal: registered where they are missing, and usable afterwards. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { createCluster } from '../../cluster/local-cluster';
import {
  migrateSearchAttributes,
  SearchAttributesRefusedError,
  TemporalUnreachableError,
} from '../../migrations/search-attributes';
import { createLogger } from '../../platform/observability/logger';
import { searchAttributes } from '../../events/workflow-names';

const { TEMPORAL_ADDRESS: address, ...servers } = createCluster().environment;
const logger = createLogger('test', 'fatal');
const int = 3;
let connection: Connection;

beforeAll(async () => {
  connection = await Connection.connect({ address });
});

afterAll(() => connection?.close());

async function createNamespace(): Promise<string> {
  const namespace = `test_${randomUUID()}`;
  await connection.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: (24 * 3600) as never },
  });
  return namespace;
}

/** Starts a workflow with all of them and without a worker, and terminates it. */
async function useIn(namespace: string): Promise<object> {
  const client = new Client({ connection, namespace });
  const handle = await client.workflow.start('any', {
    workflowId: randomUUID(),
    taskQueue: 'nobody-works-here',
    typedSearchAttributes: Object.values(searchAttributes).map((key) => ({ key, value: 'some' })),
  });
  const { searchAttributes: set } = await handle.describe();
  await handle.terminate();
  return set;
}

test('a namespace that has just been made can be used at once, also when several migrate it', async () => {
  const namespace = await createNamespace();
  await Promise.all([1, 2, 3].map(() => migrateSearchAttributes(connection, namespace, logger)));
  const all = { EventType: ['some'], AggregateId: ['some'], OrderStatus: ['some'] };
  expect(await useIn(namespace)).toEqual(all);
  await migrateSearchAttributes(connection, namespace, logger);
  expect(await useIn(namespace)).toEqual(all);
});

test('attributes that are listed are waited for as long as Temporal does not find workflows by them', async () => {
  const namespace = await createNamespace();
  let asked = 0;
  // Whether Temporal lags behind its own list is luck: these refusals are what it says then.
  const lagging = Connection.lazy({
    address,
    interceptors: [
      (options, nextCall) => {
        const isCount = options.method_definition.path.endsWith('/CountWorkflowExecutions');
        if (isCount) asked += 1;
        if (isCount && asked <= 3) {
          const details = 'no mapping defined for search attribute EventType';
          throw Object.assign(new Error(details), { code: 3, details, metadata: {} });
        }
        return nextCall(options) as never;
      },
    ],
  });
  await migrateSearchAttributes(lagging, namespace, logger);
  expect(asked).toBeGreaterThan(3);
  await lagging.close();
});

test('one that is there with another type is refused, with its name', async () => {
  const namespace = await createNamespace();
  await migrateSearchAttributes(connection, namespace, logger);
  await connection.operatorService.removeSearchAttributes({
    namespace,
    searchAttributes: ['OrderStatus'],
  });
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: { OrderStatus: int },
  });
  const migrating = migrateSearchAttributes(connection, namespace, logger);
  await expect(migrating).rejects.toBeInstanceOf(SearchAttributesRefusedError);
  await expect(migrating).rejects.toThrow(/OrderStatus is of another type.*TEMPORAL_NAMESPACE/);
});

test('what Temporal rejects is reported with its reason', async () => {
  const namespace = await createNamespace();
  const refusing = Connection.lazy({
    address,
    interceptors: [
      () => {
        throw Object.assign(new Error('no permission'), {
          code: 7,
          details: 'no permission',
          metadata: {},
        });
      },
    ],
  });
  const migrating = migrateSearchAttributes(refusing, namespace, logger);
  await expect(migrating).rejects.toMatchObject({ code: 'SEARCH_ATTRIBUTES_REFUSED' });
  await expect(migrating).rejects.toThrow(/no permission/);
  await refusing.close();
});

describe('where nobody answers', () => {
  let nowhere: string;

  beforeAll(async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    nowhere = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.close();
    await once(server, 'close');
  });

  test('the error says so', async () => {
    const lost = Connection.lazy({ address: nowhere });
    const migrating = migrateSearchAttributes(lost, 'default', logger);
    await expect(migrating).rejects.toBeInstanceOf(TemporalUnreachableError);
    await lost.close();
  });

  test('the command ends with one line that names the address and its variable', async () => {
    const root = path.join(__dirname, '..', '..');
    const command = spawn(
      process.execPath,
      ['--require', './typescript.cjs', 'migrations/main.ts'],
      {
        cwd: root,
        env: { ...process.env, ...servers, TEMPORAL_ADDRESS: nowhere, LOG_LEVEL: 'fatal' },
        stdio: ['ignore', 'inherit', 'pipe'],
      },
    );
    let errors = '';
    command.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
    expect(await once(command, 'close')).toEqual([1, null]);
    expect(errors).toBe(
      `Temporal is unreachable at ${nowhere}: start it, or set TEMPORAL_ADDRESS.\n`,
    );
  });
});
