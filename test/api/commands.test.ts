/** What a command makes of the answers of Temporal's client. */
import {
  ServiceError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import { createCommands, UndecidedError } from '../../api/commands/temporal-commands';
import { adjustStock } from '../../events/commands/adjust-stock';
import { searchAttributes } from '../../events/workflow-names';

/** A client whose calls for workflows are these. */
function clientOf(workflow: object): Client {
  const running = { getHandle: () => ({ describe: async () => ({ runId: 'run-1' }) }) };
  return {
    withDeadline: (_deadline: number, work: () => unknown) => work(),
    workflowService: { getSystemInfo: () => Promise.resolve({}) },
    workflow: { ...running, ...workflow },
  } as unknown as Client;
}

/** Throws each of the errors in turn, then accepts the update and answers. */
function clientThatThrows(...errors: Error[]): Client {
  return clientOf({
    startUpdateWithStart: async () => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return { result: async () => ({ kind: 'confirmed' }) };
    },
  });
}

/** The server's bare answer, as the client throws it where half of an update-with-start was refused. */
function bareAnswer(code: number): Error {
  const details = 'MultiOperation could not be executed';
  return Object.assign(new Error(`${code}: ${details}`), { code, details, metadata: {} });
}

function cancel(client: Client): Promise<unknown> {
  return createCommands(client).cancelOrder('order-1', { reason: 'changed my mind' });
}

test.each([
  ['the server’s bare answer', bareAnswer(5)],
  ['the client’s error', new WorkflowNotFoundError('not found', 'place-order-order-1', undefined)],
])('an update that met its workflow’s end is sent again, told by %s', async (_, error) => {
  expect(await cancel(clientThatThrows(error, error))).toEqual({ kind: 'confirmed' });
});

test.each([
  ['not found time and again', [bareAnswer(5), bareAnswer(5), bareAnswer(5)]],
  ['a bare answer', [bareAnswer(14)]],
  ['a service error', [new ServiceError('Update-With-Start failed')]],
])('%s leaves a command undecided', async (_, errors) => {
  const failing = cancel(clientThatThrows(...errors));
  await expect(failing).rejects.toThrow(UndecidedError);
  await expect(failing).rejects.toMatchObject({ isAccepted: false });
});

test('a cancellation that was accepted before its outcome stayed away is known to be', async () => {
  const result = () =>
    Promise.reject(new WorkflowUpdateRPCTimeoutOrCancelledError('no outcome in time'));
  const client = clientOf({ startUpdateWithStart: async () => ({ result }) });
  const failing = cancel(client);
  await expect(failing).rejects.toThrow(UndecidedError);
  await expect(failing).rejects.toMatchObject({ isAccepted: true });
});

test('repeats share one update: its ID says what it is for, and each run has its own', async () => {
  const updateIds: string[] = [];
  const note = async (_name: string, { updateId }: { readonly updateId: string }) => {
    updateIds.push(updateId);
    return { kind: 'confirmed', result: async () => ({ kind: 'cancelled' }) };
  };
  const client = clientOf({
    executeUpdateWithStart: note,
    startUpdateWithStart: note,
  });
  const commands = createCommands(client);
  const request = { userId: 'ann', items: [], paymentToken: 'tok_approve' };
  for (let repeat = 0; repeat < 2; repeat += 1) {
    await commands.placeOrder('order-1', request);
    await commands.cancelOrder('order-1', { reason: `reason ${repeat}` });
  }
  expect(updateIds).toEqual(['decision', 'cancel', 'decision', 'cancel']);
});

test('the failure that an earlier run ended with is not the answer to a command that is given again', async () => {
  const failed = new WorkflowUpdateFailedError('failed', new Error('terminated'));
  const updateIds: string[] = [];
  const clientWhoseRunEnded = (closeTime: Date) =>
    clientOf({
      executeUpdateWithStart: async (_name: string, { updateId }: { updateId: string }) => {
        updateIds.push(updateId);
        if (updateId === 'decision') throw failed;
        return { kind: 'confirmed' };
      },
      getHandle: () => ({ describe: async () => ({ runId: 'run-1', closeTime }) }),
    });
  const place = (closeTime: Date) =>
    createCommands(clientWhoseRunEnded(closeTime)).placeOrder('order-1', {
      userId: 'ann',
      items: [],
      paymentToken: 'tok_approve',
    });

  const hour = 3_600_000;
  expect(await place(new Date(Date.now() - hour))).toEqual({ kind: 'confirmed' });
  expect(updateIds).toEqual(['decision', 'decision-after-run-1']);
  // One that ends while the command waits is its answer.
  await expect(place(new Date(Date.now() + hour))).rejects.toMatchObject({
    code: 'COMMAND_FAILED',
  });
});

test.each([
  ['cancelled', async () => ({ kind: 'cancelled' })],
  [
    'failed',
    async () => {
      throw new WorkflowUpdateFailedError('failed', new Error('terminated'));
    },
  ],
])(
  'that an earlier run has %s is not the answer to a cancellation: the order was asked for again',
  async (_, before) => {
    const updateIds: string[] = [];
    const closeTime = new Date(Date.now() - 3_600_000);
    const runs = [{ runId: 'run-1', closeTime }, { runId: 'run-2' }];
    const client = clientOf({
      startUpdateWithStart: async (_name: string, { updateId }: { updateId: string }) => {
        updateIds.push(updateId);
        return { result: updateId === 'cancel' ? before : async () => ({ kind: 'cancelled' }) };
      },
      getHandle: () => ({ describe: async () => runs.shift() }),
    });
    expect(await cancel(client)).toEqual({ kind: 'cancelled' });
    expect(updateIds).toEqual(['cancel', 'cancel-after-run-1']);
  },
);

test('an error of our own is not taken for an answer of the server', async () => {
  const error = new TypeError('broken');
  const failing = cancel(clientThatThrows(error));
  await expect(failing).rejects.toBe(error);
});

test('a registered command starts the workflow that its definition describes', async () => {
  const executeUpdateWithStart = jest.fn(async () => ({ kind: 'unknown-product' }));
  const client = clientOf({ executeUpdateWithStart });
  const command = { adjustmentId: 'a', productId: 'tea', delta: -2, reason: 'correction' } as const;

  const outcome = await createCommands(client).execute(adjustStock, command);

  expect(outcome).toEqual({ kind: 'unknown-product' });
  expect(executeUpdateWithStart).toHaveBeenCalledTimes(1);
  expect(executeUpdateWithStart).toHaveBeenCalledWith('decision', {
    updateId: 'decision',
    startWorkflowOperation: expect.objectContaining({
      workflowTypeOrFunc: 'adjustStock',
      options: expect.objectContaining({
        workflowId: 'stock-adjustment-a',
        taskQueue: 'commerce',
        staticSummary: 'Adjust stock of tea by -2: correction',
        args: [command],
        // Half of the ten seconds that the caller waits.
        memo: { expiresAfterMs: 5_000 },
        workflowIdConflictPolicy: 'USE_EXISTING',
        typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: 'tea' }],
      }),
    }),
  });
});

test('a command that has expired is an overload, and nothing was changed', async () => {
  const client = clientOf({
    executeUpdateWithStart: async () => ({ kind: 'expired' }),
    getHandle: () => ({ describe: async () => ({ runId: 'run-1' }) }),
  });
  const command = { adjustmentId: 'a', productId: 'tea', delta: 1, reason: 'restock' } as const;
  const failing = createCommands(client).execute(adjustStock, command);
  await expect(failing).rejects.toMatchObject({ code: 'OVERLOADED', status: 503 });
});

test('a command whose earlier run has expired is decided by a new one', async () => {
  const updateIds: string[] = [];
  const closeTime = new Date(Date.now() - 1_000);
  const client = clientOf({
    executeUpdateWithStart: async (_name: string, { updateId }: { updateId: string }) => {
      updateIds.push(updateId);
      return updateId === 'decision' ? { kind: 'expired' } : { kind: 'adjusted', stock: 6 };
    },
    getHandle: () => ({ describe: async () => ({ runId: 'run-1', closeTime }) }),
  });
  const command = { adjustmentId: 'a', productId: 'tea', delta: 1, reason: 'restock' } as const;
  const outcome = await createCommands(client).execute(adjustStock, command);
  expect(outcome).toEqual({ kind: 'adjusted', stock: 6 });
  expect(updateIds).toEqual(['decision', 'decision-after-run-1']);
});

describe('how long commands take', () => {
  const adjustment = { adjustmentId: 'a', productId: 'tea', delta: 1, reason: 'restock' } as const;

  /** How many were told of, where Temporal answers like this. */
  async function countTold(
    answer: () => Promise<object>,
    give: (commands: ReturnType<typeof createCommands>) => Promise<unknown>,
  ): Promise<number> {
    const onAnswered = jest.fn();
    const client = clientOf({ executeUpdateWithStart: answer });
    await give(createCommands(client, { onAnswered })).catch(() => undefined);
    return onAnswered.mock.calls.length;
  }

  const throwing = (error: Error) => () => Promise.reject(error);

  test.each([
    ['decided', async () => ({ kind: 'adjusted', stock: 6 })],
    ['expired', async () => ({ kind: 'expired' })],
    ['undecided in time', throwing(new WorkflowUpdateRPCTimeoutOrCancelledError('late'))],
  ])('is told of one that is %s', async (_, answer) => {
    expect(await countTold(answer, (commands) => commands.execute(adjustStock, adjustment))).toBe(
      1,
    );
  });

  test('is told of a repeat that has expired', async () => {
    const told = countTold(
      async () => ({ kind: 'expired' }),
      (commands) => commands.execute(adjustStock, adjustment, true),
    );
    expect(await told).toBe(1);
  });

  test('is not told where Temporal is unavailable, of a repeat that is decided, or of an order', async () => {
    const decided = async () => ({ kind: 'adjusted', stock: 6 });
    const order = { userId: 'ann', items: [], paymentToken: 'tok_approve' };
    const told = await Promise.all([
      countTold(throwing(new ServiceError('cut off')), (commands) =>
        commands.execute(adjustStock, adjustment),
      ),
      countTold(decided, (commands) => commands.execute(adjustStock, adjustment, true)),
      countTold(decided, (commands) => commands.placeOrder('1', order)),
    ]);
    expect(told).toEqual([0, 0, 0]);
  });
});

describe('a repeat', () => {
  const adjustment = { adjustmentId: 'a', productId: 'tea', delta: 1, reason: 'restock' } as const;
  const order = { userId: 'ann', items: [], paymentToken: 'tok_approve' };
  const adjust = (client: Client, isRepeat: boolean) =>
    createCommands(client).execute(adjustStock, adjustment, isRepeat);
  const place = (client: Client, isRepeat: boolean) =>
    createCommands(client).placeOrder('1', order, isRepeat);

  const closed = async () => ({ runId: 'run-1', closeTime: new Date(Date.now() - 1_000) });
  const none = async () => {
    throw new WorkflowNotFoundError('not found', 'stock-adjustment-a', undefined);
  };
  const isBeside = (workflowId: string) => workflowId.endsWith('-after-run-1');
  const running = async (workflowId: string) =>
    isBeside(workflowId) ? none() : { runId: 'run-1' };
  const runningWithOneBeside = async (workflowId: string) =>
    isBeside(workflowId) ? { ...(await closed()), runId: 'run-2' } : { runId: 'run-1' };

  test.each([
    [
      'is decided by a new run, not by one that has ended',
      adjust,
      closed,
      ['stock-adjustment-a', 'decision-after-run-1'],
    ],
    [
      'is decided beside a run that has not ended',
      adjust,
      running,
      ['stock-adjustment-a-after-run-1', 'decision'],
    ],
    [
      'is decided anew beside it, too, where the one before was',
      adjust,
      runningWithOneBeside,
      ['stock-adjustment-a-after-run-1', 'decision-after-run-2'],
    ],
    [
      'is decided as at first where no run is known',
      adjust,
      none,
      ['stock-adjustment-a', 'decision'],
    ],
    [
      'of an order is decided by a new run, too',
      place,
      closed,
      ['order-1', 'decision-after-run-1'],
    ],
    [
      'of an order waits for the run that may be cancelled',
      place,
      running,
      ['order-1', 'decision'],
    ],
  ])('%s', async (_, give, describe, expected) => {
    const describeRun = jest.fn<Promise<object>, [workflowId: string]>(describe);
    const given: string[][] = [];
    const client = clientOf({
      executeUpdateWithStart: async (
        _name: string,
        {
          updateId,
          startWorkflowOperation,
        }: {
          readonly updateId: string;
          readonly startWorkflowOperation: { readonly options: { readonly workflowId: string } };
        },
      ) => {
        given.push([startWorkflowOperation.options.workflowId, updateId]);
        return { kind: 'confirmed' };
      },
      getHandle: (workflowId: string) => ({ describe: () => describeRun(workflowId) }),
    });
    await give(client, true);
    expect(given).toEqual([expected]);
    expect(describeRun).toHaveBeenCalled();
    describeRun.mockClear();
    await give(client, false);
    expect(describeRun).not.toHaveBeenCalled();
  });
});
