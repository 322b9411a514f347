/** What a real Temporal refuses, told in the same way over either kind of connection. */
import { randomBytes } from 'node:crypto';
import { type NativeConnection } from '@temporalio/worker';
import type { Client } from '@temporalio/client';
import { planWorkflow } from '../../bridge/workflow-plan';
import { createWorkflowStarter, StartRefusedError } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/logger';
import { createTemporalClientOn } from '../../platform/temporal';
import { connectWorker } from '../../platform/temporal-worker';
import { received } from '../bridge/records';
import { createStack, type Stack } from './stack';

const logger = createLogger('test', 'silent');
let stack: Stack;
let workerConnection: NativeConnection;

beforeAll(async () => {
  stack = await createStack([]);
  workerConnection = await connectWorker(stack.config);
});

afterAll(async () => {
  await workerConnection?.close();
  await stack?.stop();
});

let offset = 0;

/** A message that cannot be parsed, whose bytes go into the input of the workflow that parks it. */
function planOf(bytes: number) {
  offset += 1;
  return planWorkflow(received({ value: randomBytes(bytes), offset }));
}

const clients: readonly (readonly [string, () => Client])[] = [
  ['a connection of its own', () => stack.temporal],
  ["a worker's connection", () => createTemporalClientOn(workerConnection, stack.config)],
];

test.each(clients)('over %s, an input beyond the limit is refused for good', async (_, client) => {
  const starter = createWorkflowStarter({ client: client(), logger });
  // Otherwise it would try again for ever, should it take the refusal for something else.
  const signal = AbortSignal.timeout(30_000);
  await expect(starter.start(planOf(1_000), signal)).resolves.toBe(true);
  // Temporal takes 2 MiB.
  await expect(starter.start(planOf(3 * 1_024 * 1_024), signal)).rejects.toThrow(StartRefusedError);
});
