import { ApplicationFailure } from '@temporalio/common';
import type { RedriveClaim } from '../../activities/collector/dead-letter-resolution';
import type { RedriveDeadLetter, RedriveOutcome } from '../../events/redrive';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

const minuteMs = 60_000;
const sentTo = { topic: 'catalog-events', partition: 1, offset: 5 };
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

function redrive(deadLetterId: number, activities: object): Promise<RedriveOutcome> {
  const command: RedriveDeadLetter = { deadLetterId, attempt: 1, by: 'somebody', again: false };
  return environment.withWorker(taskQueues.collector, activities, async () => {
    const handle = await environment.client.workflow.start(workflowTypes.redriveDeadLetter, {
      workflowId: workflowIds.redriveDeadLetter(deadLetterId, 1),
      taskQueue: taskQueues.collector,
      args: [command],
    });
    return handle.result() as Promise<RedriveOutcome>;
  });
}

/** Activities that note what is done, in order; any of them may be replaced. */
function recording(overrides: object = {}) {
  const steps: string[] = [];
  const step =
    <T>(name: string, result: T) =>
    async (): Promise<T> => {
      steps.push(name);
      return result;
    };
  const activities = {
    claimRedrive: step<RedriveClaim>('claim', { kind: 'claimed' }),
    sendRedriven: step('send', sentTo),
    settleRedrive: step('settle', undefined),
    abandonRedrive: step('abandon', undefined),
    ...overrides,
  };
  return { steps, activities };
}

test('is claimed, sent and settled, in this order', async () => {
  const { steps, activities } = recording();
  expect(await redrive(1, activities)).toEqual({ kind: 'redriven', sentTo });
  expect(steps).toEqual(['claim', 'send', 'settle']);
});

test.each<RedriveOutcome>([
  { kind: 'settled', status: 'discarded' },
  { kind: 'unknown-dead-letter' },
  { kind: 'redriven' },
])('is not sent when it cannot be claimed: %j', async (outcome) => {
  const { steps, activities } = recording({ claimRedrive: async () => outcome });
  expect(await redrive(2, activities)).toEqual(outcome);
  expect(steps).toEqual([]);
});

test('is sent when Kafka is back, however long that takes', async () => {
  const kafka = await outageOf(environment, 30 * minuteMs);
  const { steps, activities } = recording({
    async sendRedriven() {
      await kafka.fail();
      return sentTo;
    },
  });
  expect(await redrive(3, activities)).toEqual({ kind: 'redriven', sentTo });
  expect(kafka.tries()).toBeGreaterThan(10);
  expect(steps).toEqual(['claim', 'settle']);
});

test('stays parked when Kafka will never take it, with the reason', async () => {
  const { steps, activities } = recording({
    async sendRedriven() {
      throw ApplicationFailure.nonRetryable('too large', 'REDRIVE_REFUSED');
    },
  });
  expect(await redrive(4, activities)).toEqual({ kind: 'refused', detail: 'too large' });
  expect(steps).toEqual(['claim', 'abandon']);
});
