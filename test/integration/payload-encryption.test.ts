/** With a key set, nothing that Temporal stores can be read without it. */
import { randomBytes, randomUUID } from 'node:crypto';
import { ActivityFailure, WorkflowFailedError, type Client } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import type { Config } from '../../platform/process/config';
import { UnknownEncryptionKeyError } from '../../platform/temporal/payload-encryption';
import { createTemporalClient } from '../../platform/temporal/client';
import { registerProduct } from '../../events/commands/register-product';
import { taskQueues } from '../../events/workflow-names';
import { createStack, type Stack } from '../../testkit/stack';

const key = randomBytes(32);
let stack: Stack;
const clients: Client[] = [];

beforeAll(async () => {
  stack = await createStack(['worker:commerce'], {
    PAYLOAD_ENCRYPTION_KEY: key.toString('base64'),
  });
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.connection.close()));
  await stack?.stop();
});

function clientWith(PAYLOAD_ENCRYPTION_KEY: Config['PAYLOAD_ENCRYPTION_KEY']): Client {
  const { PAYLOAD_ENCRYPTION_KEY: _, ...config } = stack.config;
  const client = createTemporalClient({
    ...config,
    ...(PAYLOAD_ENCRYPTION_KEY === undefined ? {} : { PAYLOAD_ENCRYPTION_KEY }),
  });
  clients.push(client);
  return client;
}

function register(client: Client, productId: string, name: string, price: number) {
  return client.workflow.start(registerProduct.name, {
    workflowId: registerProduct.workflowId({ productId }),
    taskQueue: taskQueues.commerce,
    args: [{ productId, name, price, stock: 1 }],
  });
}

/** A workflow's history as the server has it, byte for byte. */
async function storedHistory(workflowId: string): Promise<Buffer> {
  const { history } = await stack.temporal.workflowService.getWorkflowExecutionHistory({
    namespace: stack.config.TEMPORAL_NAMESPACE,
    execution: { workflowId },
  });
  return Buffer.from(temporal.api.history.v1.History.encode(history!).finish());
}

test('an input and a result are read with the key, and are not in the history', async () => {
  const name = `marker-${randomUUID()}`;
  const workflow = await register(stack.temporal, randomUUID(), name, 1_000);
  expect(await workflow.result()).toMatchObject({ name });
  const history = await storedHistory(workflow.workflowId);
  expect(history.includes('binary/encrypted')).toBe(true);
  expect(history.includes(name)).toBe(false);
});

test('why a workflow failed is read with the key, and is not in the history', async () => {
  const workflow = await register(stack.temporal, randomUUID(), 'Kettle', -1);
  const failure = await workflow.result().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  const { cause } = failure as WorkflowFailedError;
  expect(cause).toBeInstanceOf(ActivityFailure);
  expect((cause as ActivityFailure).cause?.message).toContain('violates check constraint');
  const history = await storedHistory(workflow.workflowId);
  expect(history.includes('violates check constraint')).toBe(false);
  expect(history.includes('PostgreSQL')).toBe(false);
});

test('a client with another key gets an error that says so', async () => {
  const workflow = await register(stack.temporal, randomUUID(), 'Kettle', 1_000);
  await workflow.result();
  const other = clientWith(randomBytes(32)).workflow.getHandle(workflow.workflowId);
  await expect(other.result()).rejects.toThrow(UnknownEncryptionKeyError);
});

test('a workflow that was started without encryption is finished with it', async () => {
  const name = `plain-${randomUUID()}`;
  const workflow = await register(clientWith(undefined), randomUUID(), name, 1_000);
  const history = await storedHistory(workflow.workflowId);
  expect(history.includes(name)).toBe(true);
  const result = await stack.temporal.workflow.getHandle(workflow.workflowId).result();
  expect(result).toMatchObject({ name });
});
