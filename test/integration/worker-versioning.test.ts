/** A rolling deployment with worker versioning: orders that are open, or come, when the version changes. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { findDistinctFreePorts } from '../../cluster/ports';
import { registerProduct } from '../../events/commands/register-product';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { pause } from '../../platform/process/waiting';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const root = path.join(__dirname, '..', '..');
const deploymentName = 'shop';
// At the rate of a shop that has the machine for itself:
// ORDERS_PER_SECOND=10 npm test -- integration/worker-versioning
// Where other test files share two processors, that rate would be an overload of its own.
const ordersPerSecond = Number(process.env['ORDERS_PER_SECOND'] ?? 4);
let stack: Stack;
let otherRoot: string;
let nextRoot: string | undefined;
let otherWorker: Spawned;
const children: ChildProcess[] = [];

beforeAll(async () => {
  [stack, otherRoot] = await Promise.all([
    createStack(['worker:commerce', 'api'], { TEMPORAL_DEPLOYMENT_NAME: deploymentName }),
    makeVersion(root, `if (patched('look-twice')) await sleep(1)`),
  ]);
});

afterAll(async () => {
  await Promise.all(children.map(kill));
  // Other tests share the servers; when it runs already, nothing happens.
  await stack?.cluster.start('kafka');
  await stack?.stop();
  for (const folder of [otherRoot, nextRoot]) if (folder) await rm(folder, { recursive: true });
});

/** The project with another `placeOrder`: with a step in front, behind a patch. */
async function makeVersion(of: string, step: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-version-'));
  const parts = [
    'events',
    'workflows',
    'activities',
    'platform',
    'projections',
    'workers',
    'package.json',
    'package-cache.cjs',
    'typescript.cjs',
  ];
  for (const part of parts)
    await cp(path.join(of, part), path.join(folder, part), { recursive: true });
  await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const file = path.join(folder, 'workflows', 'commerce', 'place-order.ts');
  const text = await readFile(file, 'utf8');
  const changed = text.replace(
    `    const placed = await`,
    `    ${step};\n    const placed = await`,
  );
  expect(changed).toContain(step);
  await writeFile(file, changed);
  return folder;
}

interface Spawned {
  readonly child: ChildProcess;
  output(): string;
}

async function startWorkerOf(folder: string): Promise<Spawned> {
  const port = String((await findDistinctFreePorts(1))[0]);
  const worker = spawnOf(folder, 'workers/commerce.ts', [], { METRICS_PORT: port });
  await until('the new worker is ready', async () => {
    const readiness = await fetch(`http://127.0.0.1:${port}/readyz`);
    return readiness.ok;
  });
  return worker;
}

function spawnOf(
  folder: string,
  entry: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Spawned {
  const { DATABASE_URL, TEMPORAL_NAMESPACE } = stack.config;
  const variables = { DATABASE_URL, TEMPORAL_NAMESPACE, TEMPORAL_DEPLOYMENT_NAME: deploymentName };
  const child = spawn(process.execPath, ['--require', './typescript.cjs', entry, ...parameters], {
    cwd: folder,
    env: { ...process.env, ...stack.cluster.environment, ...variables, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return { child, output: () => output };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

async function currentVersion(): Promise<string | undefined> {
  const { workerDeploymentInfo } = await stack.temporal.workflowService.describeWorkerDeployment({
    namespace: stack.config.TEMPORAL_NAMESPACE,
    deploymentName: `${deploymentName}-${taskQueues.commerce}`,
  });
  return workerDeploymentInfo?.routingConfig?.currentDeploymentVersion?.buildId ?? undefined;
}

async function promote(folder: string): Promise<void> {
  const { child, output } = spawnOf(folder, 'workers/promote.ts', [taskQueues.commerce]);
  await once(child, 'exit');
  expect({ code: child.exitCode, output: output() }).toMatchObject({ code: 0 });
}

async function versionOf(workflow: WorkflowHandle): Promise<string | undefined> {
  const { raw } = await workflow.describe();
  return raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId ?? undefined;
}

async function isPatched(workflow: WorkflowHandle): Promise<boolean> {
  const { events } = await workflow.fetchHistory();
  const markers = (events ?? []).map((event) => event.markerRecordedEventAttributes);
  const patches = markers
    .filter((marker) => marker?.markerName === 'core_patch')
    .flatMap((marker) => Object.values(marker?.details ?? {}))
    .flatMap(({ payloads }) => payloads ?? []);
  return patches.some(({ data }) => Buffer.from(data ?? []).includes('look-twice'));
}

async function placeOrder(
  productId: string,
): Promise<{ orderId: string; workflow: WorkflowHandle }> {
  const orderId = randomUUID();
  const items = [{ productId, quantity: 1 }];
  const workflow = await stack.temporal.workflow.start(workflowTypes.placeOrder, {
    workflowId: workflowIds.placeOrder(orderId),
    taskQueue: taskQueues.commerce,
    args: [{ orderId, request: { userId: 'user-1', items, paymentToken: 'tok_approve' } }],
  });
  return { orderId, workflow };
}

test('an order that began in one version is finished by the next one, which a restart of the old does not undo', async () => {
  const oldVersion = await currentVersion();
  expect(oldVersion).toBeTruthy();
  const productId = randomUUID();
  await stack.temporal.workflow.execute(registerProduct.name, {
    workflowId: registerProduct.workflowId({ productId }),
    taskQueue: taskQueues.commerce,
    args: [{ productId, name: 'Kettle', price: 1_000, stock: 5 }],
  });

  otherWorker = await startWorkerOf(otherRoot);
  expect(await currentVersion()).toBe(oldVersion);

  // Until its events are published, an order is open.
  await stack.cluster.stop('kafka');
  const { orderId, workflow } = await placeOrder(productId);
  await until('it is decided', async () => {
    const { rows } = await stack.pool.query(
      `SELECT FROM commerce.orders WHERE order_id = $1 AND status = 'CONFIRMED'`,
      [orderId],
    );
    return rows.length === 1;
  });
  expect(await until('a worker has it', () => versionOf(workflow))).toBe(oldVersion);

  await promote(otherRoot);
  const [oldWorker] = stack.running('worker:commerce');
  await oldWorker!.end('SIGTERM');
  await stack.cluster.start('kafka');

  expect(await workflow.result()).toMatchObject({ kind: 'confirmed' });
  const newVersion = await currentVersion();
  expect(newVersion).not.toBe(oldVersion);
  expect(await versionOf(workflow)).toBe(newVersion);
  expect(await isPatched(workflow)).toBe(false);

  await stack.start('worker:commerce');
  expect(await currentVersion()).toBe(newVersion);
  const next = await placeOrder(productId);
  expect(await next.workflow.result()).toMatchObject({ kind: 'confirmed' });
  expect(await versionOf(next.workflow)).toBe(newVersion);
  expect(await isPatched(next.workflow)).toBe(true);
}, 120_000);

test('while a version replaces the one before it, no order stands still', async () => {
  nextRoot = await makeVersion(otherRoot, `patched('look-again')`);
  const replaced = await currentVersion();
  await startWorkerOf(nextRoot);
  const body = { name: 'Teapot', price: 700, stock: 10_000 };
  const { body: product } = await stack.call('POST', '/v1/products', { body });
  const ordering = orderSteadily((product as { productId: string }).productId);

  await until('orders are decided', () => ordering.tookMs.length >= 20);
  const usual = Math.max(...ordering.tookMs);
  await promote(nextRoot);
  expect(await currentVersion()).not.toBe(replaced);
  const exited = once(otherWorker.child, 'exit');
  otherWorker.child.kill('SIGTERM');
  await exited;
  const since = ordering.tookMs.length;
  await until('orders are decided by the next one', () => ordering.tookMs.length >= since + 20);
  await ordering.stop();

  const longest = Math.max(...ordering.tookMs);
  console.info(
    `${ordering.tookMs.length} orders: longest ${usual} ms before, ${longest} ms at all`,
  );
  expect(longest).toBeLessThan(usual + 2_000);
}, 120_000);

/** Places orders at a steady rate, whatever becomes of those before. */
function orderSteadily(productId: string): {
  /** From the request to its decision, in ms. */
  readonly tookMs: readonly number[];
  /** Resolves when all are decided. @throws when one was answered with anything but its decision */
  stop(): Promise<void>;
} {
  const tookMs: number[] = [];
  const stopping = new AbortController();
  const body = { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' };
  const order = async (): Promise<void> => {
    const from = performance.now();
    const options = { as: 'shopper', userId: 'user-1', body } as const;
    const { status } = await stack.call('POST', '/v1/orders', options);
    if (status !== 201) throw new Error(`An order was answered with ${status}.`);
    tookMs.push(Math.round(performance.now() - from));
  };
  const orders: Promise<void>[] = [];
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const placed = order();
      // `stop` tells it.
      placed.catch(() => undefined);
      orders.push(placed);
      await pause(1_000 / ordersPerSecond, stopping.signal);
    }
    await Promise.all(orders);
  })();
  return {
    tookMs,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}
