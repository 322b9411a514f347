/** What a command makes of the answers of Temporal's client. */
import { ServiceError, WorkflowNotFoundError, type Client } from '@temporalio/client';
import { createCommands, UndecidedError } from '../../api/commands/temporal-commands';
import { adjustStock } from '../../events/commands/adjust-stock';
import { searchAttributes } from '../../events/workflow-names';

/** Throws each of the errors in turn, then answers. */
function clientThatThrows(...errors: Error[]): Client {
  return {
    withDeadline: (_deadline: number, work: () => unknown) => work(),
    workflowService: { getSystemInfo: () => Promise.resolve({}) },
    workflow: {
      executeUpdateWithStart: () => {
        const error = errors.shift();
        return error ? Promise.reject(error) : Promise.resolve({ kind: 'confirmed' });
      },
    },
  } as unknown as Client;
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
  await expect(cancel(clientThatThrows(...errors))).rejects.toThrow(UndecidedError);
});

test('an error of our own is not taken for an answer of the server', async () => {
  const error = new TypeError('broken');
  const failing = cancel(clientThatThrows(error));
  await expect(failing).rejects.toBe(error);
});

test('a registered command starts the workflow that its definition describes', async () => {
  const executeUpdateWithStart = jest.fn(async () => ({ kind: 'unknown-product' }));
  const client = { ...clientThatThrows(), workflow: { executeUpdateWithStart } };
  const command = { adjustmentId: 'a', productId: 'tea', delta: -2, reason: 'correction' } as const;

  const outcome = await createCommands(client as unknown as Client).execute(adjustStock, command);

  expect(outcome).toEqual({ kind: 'unknown-product' });
  expect(executeUpdateWithStart).toHaveBeenCalledTimes(1);
  expect(executeUpdateWithStart).toHaveBeenCalledWith('decision', {
    args: [],
    startWorkflowOperation: expect.objectContaining({
      workflowTypeOrFunc: 'adjustStock',
      options: expect.objectContaining({
        workflowId: 'stock-adjustment-a',
        taskQueue: 'commerce',
        staticSummary: 'Adjust stock of tea by -2: correction',
        args: [command],
        workflowIdConflictPolicy: 'USE_EXISTING',
        typedSearchAttributes: [{ key: searchAttributes.aggregateId, value: 'tea' }],
      }),
    }),
  });
});
