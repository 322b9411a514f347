import type { RefusedMessage } from '../../events/received';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

const minuteMs = 60_000;
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

test.each<[string, Buffer | null]>([
  ['with bytes that are no text', Buffer.from([0x00, 0xff, 0x80])],
  ['without a value', null],
])('a message %s is parked, and copied when Kafka is back', async (_, value) => {
  const offset = value?.length ?? 0;
  const message: RefusedMessage = {
    topic: 'catalog-events',
    partition: 2,
    offset,
    key: { base64: '/w==' },
    headers: [{ name: 'odd', base64: '/w==' }],
    producedAt: 1767225600000,
    reason: 'NOT_UTF8',
    detail: 'The value is not UTF-8 text.',
  };
  const workflowId = workflowIds.parkDeadLetter(message);
  const kafka = await outageOf(environment, 10 * minuteMs);
  const parked: unknown[][] = [];
  const copied: number[] = [];
  const activities = {
    async parkMessage(refused: RefusedMessage, bytes: Uint8Array | null, by: string) {
      parked.push([refused, bytes === null ? null : Buffer.from(bytes), by]);
      return 23;
    },
    async copyToDeadLetterTopic(deadLetterId: number) {
      // The table has it before the first try to copy it.
      expect(parked).toHaveLength(1);
      await kafka.fail();
      copied.push(deadLetterId);
    },
  };
  const result = await environment.withWorker(taskQueues.collector, activities, async () => {
    const handle = await environment.client.workflow.start(workflowTypes.parkDeadLetter, {
      workflowId,
      taskQueue: taskQueues.collector,
      args: [message, value],
    });
    return handle.result() as Promise<unknown>;
  });
  expect(result).toBe(23);
  expect(parked).toEqual([[message, value, workflowId]]);
  expect(kafka.tries()).toBeGreaterThan(10);
  expect(copied).toEqual([23]);
});
