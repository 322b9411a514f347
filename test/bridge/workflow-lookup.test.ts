import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { createWorkflowLookup } from '../../bridge/workflow-lookup';

/** A client of a Temporal that describes every workflow in the same way. */
function clientOf(describe: () => Promise<{ status: { name: string } }>): Client {
  return {
    withDeadline: (_deadline: number, work: () => unknown) => work(),
    workflow: { getHandle: () => ({ describe }) },
  } as unknown as Client;
}

test.each([
  ['RUNNING', false],
  ['COMPLETED', true],
  // As after its event was parked.
  ['FAILED', true],
  // Somebody wants it ended.
  ['TERMINATED', false],
  ['CANCELLED', false],
])('a workflow that is %s has ended by itself: %s', async (name, hasEnded) => {
  const lookup = createWorkflowLookup(clientOf(async () => ({ status: { name } })));
  await expect(lookup('event')).resolves.toBe(hasEnded);
});

test('one that Temporal does not know has ended', async () => {
  const notFound = new WorkflowNotFoundError('not found', 'event', undefined);
  const lookup = createWorkflowLookup(clientOf(() => Promise.reject(notFound)));
  await expect(lookup('event')).resolves.toBe(true);
});

test('no answer is no answer', async () => {
  const lookup = createWorkflowLookup(clientOf(() => Promise.reject(new Error('away'))));
  await expect(lookup('event')).rejects.toThrow('away');
});
