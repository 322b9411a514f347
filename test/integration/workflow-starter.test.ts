/** What a real Temporal rejects, reported in the same way over either kind of connection. */
import { randomBytes } from 'node:crypto';
import { type NativeConnection } from '@temporalio/worker';
import type { Client } from '@temporalio/client';
import { planWorkflow, type ParkingPlan } from '../../bridge/workflow-plan';
import { createWorkflowStarter, StartRejectedError } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/observability/logger';
import { createTemporalClientOn } from '../../platform/temporal/client';
import { connectWorker } from '../../platform/temporal/worker';
import { received } from '../../testkit/records';
import { createStack, type Stack } from '../../testkit/stack';

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

/** A plan to park a message with so many bytes in the workflow's input: more than any plan has. */
function planOf(bytes: number): ParkingPlan {
  offset += 1;
  const plan = planWorkflow(received({ value: 'not json', offset }));
  if (plan.type !== 'parkDeadLetter') throw new Error('It must be parked.');
  const [message] = plan.input;
  if ('lastOffset' in message) throw new Error('It must travel as a whole.');
  return { ...plan, input: [message, randomBytes(bytes)] };
}

const clients: readonly (readonly [string, () => Client])[] = [
  ['a connection of its own', () => stack.temporal],
  ["a worker's connection", () => createTemporalClientOn(workerConnection, stack.config)],
];

test.each(clients)(
  'over %s, an input beyond the limit is refused for good',
  async (_, client) => {
    const starter = createWorkflowStarter({ client: client(), logger });
    // Otherwise it would retry for ever, should it mistake the rejection.
    const signal = AbortSignal.timeout(30_000);
    await expect(starter.start(planOf(1_000), signal)).resolves.toBe(true);
    // Temporal takes 2 MiB of an input, and gRPC 4 MiB of a request.
    for (const mebibytes of [3, 6]) {
      const plan = planOf(mebibytes * 1_024 * 1_024);
      await expect(starter.start(plan, signal)).rejects.toThrow(StartRejectedError);
    }
    // Temporal's client itself retries a request that is too large, for over half a minute.
  },
  150_000,
);
