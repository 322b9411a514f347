import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { adjustStock } from '../../events/commands/adjust-stock';
import { registerProduct } from '../../events/commands/register-product';
import { expiresAfterMsMemo } from '../../events/command-expiry';
import { decisionUpdate, taskQueues } from '../../events/workflow-names';
import { until } from '../../testkit/until';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

const minuteMs = 60_000;
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

/** Starts a command, or joins it, as the API does: the answer is the decision. */
async function decide<Outcome>(
  workflowType: string,
  workflowId: string,
  command: object,
  memo: Record<string, unknown> = {},
): Promise<Outcome> {
  type Command = (command: object) => Promise<object>;
  return environment.client.workflow.executeUpdateWithStart<Command, Outcome, []>(decisionUpdate, {
    startWorkflowOperation: new WithStartWorkflowOperation<Command>(workflowType, {
      workflowId,
      taskQueue: taskQueues.commerce,
      args: [command],
      memo,
      workflowIdConflictPolicy: 'USE_EXISTING',
    }),
  });
}

function adjustment(adjustmentId: string) {
  return { adjustmentId, productId: 'product-1', delta: -1, reason: 'correction' } as const;
}

const adjusted = { kind: 'adjusted', stock: 4, version: 2, eventId: 'event-1' } as const;

async function statusOf(workflowId: string): Promise<string> {
  return (await environment.client.workflow.getHandle(workflowId).describe()).status.name;
}

describe('the decision is returned while Kafka is unavailable, and the event is published when it is back', () => {
  const cases = [
    {
      workflowType: adjustStock.name,
      workflowId: adjustStock.workflowId({ adjustmentId: 'hour' }),
      command: adjustment('hour'),
      outcome: adjusted,
      published: { topic: 'catalog-events', key: 'product-1' },
      minutesAway: 60,
    },
    {
      workflowType: registerProduct.name,
      workflowId: registerProduct.workflowId({ productId: 'product-1' }),
      command: { productId: 'product-1', name: 'Mug', price: 900, stock: 5 },
      // Of a product that a restore has lost.
      outcome: {
        productId: 'product-2',
        name: 'Mug',
        price: 900,
        stock: 5,
        version: 1,
        eventId: 'e',
      },
      published: { topic: 'catalog-events', key: 'product-2' },
      minutesAway: 5,
    },
  ];

  test.each(cases)('$workflowType: $minutesAway minutes', async (each) => {
    const { workflowType, workflowId, command, outcome } = each;
    const awayMs = each.minutesAway * minuteMs;
    const kafka = await outageOf(environment, awayMs);
    const change = jest.fn(async () => outcome);
    const published: unknown[] = [];
    const activities = {
      changeStock: change,
      createProduct: change,
      async publishOutbox(aggregates: unknown) {
        await kafka.fail();
        published.push(aggregates);
      },
    };
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      const startedAt = await environment.currentTimeMs();
      expect(await decide(workflowType, workflowId, command)).toEqual(outcome);
      expect(published).toEqual([]);
      expect(await statusOf(workflowId)).toBe('RUNNING');
      // Whoever asks again while it is publishing gets the same answer, from the same run.
      expect(await decide(workflowType, workflowId, command)).toEqual(outcome);

      const handle = environment.client.workflow.getHandle(workflowId);
      expect(await handle.result()).toEqual(outcome);
      expect(await environment.currentTimeMs()).toBeGreaterThanOrEqual(startedAt + awayMs);
    });
    expect(published).toEqual([[each.published]]);
    expect(kafka.tries()).toBeGreaterThan(10);
    expect(change).toHaveBeenCalledTimes(1);
    expect(change).toHaveBeenCalledWith(command);
  });
});

test.each([{ kind: 'stock-out-of-range', stock: 3 }, { kind: 'unknown-product' }])(
  'an adjustment that is not possible publishes nothing: %j',
  async (outcome) => {
    const workflowId = adjustStock.workflowId({ adjustmentId: outcome.kind });
    const publishOutbox = jest.fn();
    const activities = { changeStock: async () => outcome, publishOutbox };
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      const decision = await decide(adjustStock.name, workflowId, adjustment(outcome.kind));
      expect(decision).toEqual(outcome);
      expect(await environment.client.workflow.getHandle(workflowId).result()).toEqual(outcome);
    });
    expect(publishOutbox).not.toHaveBeenCalled();
  },
);

test('a database that is unavailable for longer than the first attempts is retried, visibly', async () => {
  const workflowId = adjustStock.workflowId({ adjustmentId: 'patient' });
  const database = await outageOf(environment, 10 * minuteMs);
  const publishOutbox = jest.fn(async () => undefined);
  const activities = {
    async changeStock() {
      await database.fail();
      return adjusted;
    },
    publishOutbox,
  };
  await environment.withWorker(taskQueues.commerce, activities, async () => {
    const handle = await environment.client.workflow.start(adjustStock.name, {
      workflowId,
      taskQueue: taskQueues.commerce,
      args: [adjustment('patient')],
    });
    // The server's time must not be skipped during the first attempts: they run in ours.
    await until('it is an ordinary activity', async () =>
      (await environment.ordinaryActivitiesOf(workflowId)).includes('changeStock'),
    );
    expect(await handle.result()).toEqual(adjusted);
  });
  expect(await environment.ordinaryActivitiesOf(workflowId)).toEqual([
    'changeStock',
    'publishOutbox',
  ]);
  expect(publishOutbox).toHaveBeenCalledTimes(1);
});

test('while all goes well the change of state is no activity of its own in the history', async () => {
  const workflowId = adjustStock.workflowId({ adjustmentId: 'cheap' });
  const activities = { changeStock: async () => adjusted, publishOutbox: async () => undefined };
  await environment.withWorker(taskQueues.commerce, activities, () =>
    decide(adjustStock.name, workflowId, adjustment('cheap')).then(() =>
      environment.client.workflow.getHandle(workflowId).result(),
    ),
  );
  expect(await environment.ordinaryActivitiesOf(workflowId)).toEqual(['publishOutbox']);
});

test('data that can never be stored end the command, and its callers get the error', async () => {
  const workflowId = adjustStock.workflowId({ adjustmentId: 'refused' });
  const changeStock = jest.fn(async () => {
    throw ApplicationFailure.nonRetryable('refused', 'DATA_REFUSED');
  });
  const publishOutbox = jest.fn();
  await environment.withWorker(taskQueues.commerce, { changeStock, publishOutbox }, async () => {
    await expect(decide(adjustStock.name, workflowId, adjustment('refused'))).rejects.toThrow();
    expect(await statusOf(workflowId)).toBe('FAILED');
  });
  // Once cheaply and once visibly, and never again.
  expect(changeStock).toHaveBeenCalledTimes(2);
  expect(publishOutbox).not.toHaveBeenCalled();
});

describe('a command that expires', () => {
  const memo = { [expiresAfterMsMemo]: minuteMs };

  test('is decided when a worker begins it in time', async () => {
    const workflowId = adjustStock.workflowId({ adjustmentId: 'in-time' });
    const activities = { changeStock: async () => adjusted, publishOutbox: jest.fn() };
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      const decision = await decide(adjustStock.name, workflowId, adjustment('in-time'), memo);
      expect(decision).toEqual(adjusted);
      await environment.client.workflow.getHandle(workflowId).result();
    });
    expect(activities.publishOutbox).toHaveBeenCalledTimes(1);
  });

  test('changes nothing when no worker does', async () => {
    const expiresAfterMs = 500;
    const workflowId = adjustStock.workflowId({ adjustmentId: 'late' });
    const handle = await environment.client.workflow.start(adjustStock.name, {
      workflowId,
      taskQueue: taskQueues.commerce,
      args: [adjustment('late')],
      memo: { [expiresAfterMsMemo]: expiresAfterMs },
    });
    // The server skips no time while a task waits for a worker.
    await environment.sleep(2 * expiresAfterMs);
    const activities = { changeStock: jest.fn(async () => adjusted), publishOutbox: jest.fn() };
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      expect(await handle.result()).toEqual({ kind: 'expired' });
    });
    expect(activities.changeStock).not.toHaveBeenCalled();
    expect(activities.publishOutbox).not.toHaveBeenCalled();
  });
});

test('a worker that is killed after the change leaves it to another, which changes nothing again', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'ledger-'));
  const ledger = path.join(folder, 'adjustments');
  await writeFile(ledger, '');
  const command = adjustment('killed');
  const workflowId = adjustStock.workflowId({ adjustmentId: 'killed' });
  let worker: ChildProcess | undefined;
  try {
    worker = spawn(
      process.execPath,
      [
        '--require',
        './typescript.cjs',
        path.join(__dirname, 'fixtures', 'worker-that-dies.ts'),
        ledger,
      ],
      {
        env: {
          ...process.env,
          TEMPORAL_ADDRESS: environment.address,
          TEMPORAL_NAMESPACE: environment.namespace,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const died = once(worker, 'exit');
    await once(worker.stdout!, 'data');
    await environment.client.workflow.start(adjustStock.name, {
      workflowId,
      taskQueue: taskQueues.commerce,
      args: [command],
      // For so long the server waits for a worker before it gives the task to another.
      workflowTaskTimeout: '4 seconds',
      // What was begun does not expire, since it may have changed something.
      memo: { [expiresAfterMsMemo]: 3_000 },
    });
    expect(await died).toEqual([null, 'SIGKILL']);
    expect(await readFile(ledger, 'utf8')).toBe('killed\n');

    const changeStock = jest.fn(async ({ adjustmentId }: typeof command) => {
      const known = (await readFile(ledger, 'utf8')).split('\n').includes(adjustmentId);
      if (!known) await appendFile(ledger, `${adjustmentId}\n`);
      return adjusted;
    });
    const publishOutbox = jest.fn(async () => undefined);
    await environment.withWorker(taskQueues.commerce, { changeStock, publishOutbox }, async () => {
      expect(await decide(adjustStock.name, workflowId, command)).toEqual(adjusted);
      expect(await environment.client.workflow.getHandle(workflowId).result()).toEqual(adjusted);
    });
    expect(changeStock).toHaveBeenCalledTimes(1);
    expect(publishOutbox).toHaveBeenCalledTimes(1);
    expect(await readFile(ledger, 'utf8')).toBe('killed\n');
  } finally {
    worker?.kill('SIGKILL');
    await rm(folder, { recursive: true });
  }
});
