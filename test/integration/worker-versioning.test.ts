/** A rolling deployment with worker versioning: an order that is open when the version changes. */
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
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const root = path.join(__dirname, '..', '..');
const deploymentName = 'shop';
let stack: Stack;
let otherRoot: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  [stack, otherRoot] = await Promise.all([
    createStack(['worker:commerce'], { TEMPORAL_DEPLOYMENT_NAME: deploymentName }),
    makeOtherVersion(),
  ]);
});

afterAll(async () => {
  await Promise.all(children.map(kill));
  // Other tests share the servers; when it runs already, nothing happens.
  await stack?.cluster.start('kafka');
  await stack?.stop();
  if (otherRoot) await rm(otherRoot, { recursive: true });
});

/** The project with another `placeOrder`: a new step, behind a patch. */
async function makeOtherVersion(): Promise<string> {
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
    await cp(path.join(root, part), path.join(folder, part), { recursive: true });
  await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const file = path.join(folder, 'workflows', 'commerce', 'place-order.ts');
  const text = await readFile(file, 'utf8');
  const changed = text.replace(
    `    const placed = await`,
    `    if (patched('look-twice')) await sleep(1);\n    const placed = await`,
  );
  expect(changed).toContain(`patched('look-twice')`);
  await writeFile(file, changed);
  return folder;
}

function spawnOther(
  entry: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): { child: ChildProcess; output(): string } {
  const { DATABASE_URL, TEMPORAL_NAMESPACE } = stack.config;
  const variables = { DATABASE_URL, TEMPORAL_NAMESPACE, TEMPORAL_DEPLOYMENT_NAME: deploymentName };
  const child = spawn(process.execPath, ['--require', './typescript.cjs', entry, ...parameters], {
    cwd: otherRoot,
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

  const port = String((await findDistinctFreePorts(1))[0]);
  spawnOther('workers/commerce.ts', [], { METRICS_PORT: port });
  await until('the new worker is ready', async () => {
    const readiness = await fetch(`http://127.0.0.1:${port}/readyz`);
    return readiness.ok;
  });
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

  const promotion = spawnOther('workers/promote.ts', [taskQueues.commerce]);
  const ended = once(promotion.child, 'exit');
  const [oldWorker] = stack.running('worker:commerce');
  await ended;
  expect({ code: promotion.child.exitCode, output: promotion.output() }).toMatchObject({ code: 0 });
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
