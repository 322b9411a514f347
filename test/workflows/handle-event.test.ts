import { randomUUID } from 'node:crypto';
import { ApplicationFailure, WorkflowFailedError } from '@temporalio/client';
import type { ReceivedEvent } from '../../events/received';
import { workflowIds } from '../../events/workflow-ids';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import { exampleEvent } from '../../testkit/example-events';
import { until } from '../../testkit/until';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

const minuteMs = 60_000;
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

function received(): ReceivedEvent {
  const eventId = randomUUID();
  const value = JSON.stringify(exampleEvent('StockAdjusted', { id: eventId }));
  return {
    topic: 'catalog-events',
    partition: 1,
    offset: 7,
    eventId,
    key: 'product-1',
    value,
    headers: [{ name: 'traceparent', text: '00-1-2-01' }],
    producedAt: 1767225600000,
  };
}

/** Activities that note what they are called with, in the order of their ends. */
function recordingActivities() {
  const calls: { name: string; input: unknown[] }[] = [];
  const record =
    <T>(name: string, result: T) =>
    async (...input: unknown[]): Promise<T> => {
      calls.push({ name, input });
      return result;
    };
  return {
    calls,
    names: () => calls.map(({ name }) => name),
    activities: {
      writeAuditLog: record('writeAuditLog', undefined),
      updateMetrics: record('updateMetrics', undefined),
      evictCache: record('evictCache', undefined),
      parkEvent: record('parkEvent', 17),
      copyToDeadLetterTopic: record('copyToDeadLetterTopic', undefined),
    },
  };
}

function start(event: ReceivedEvent) {
  return environment.client.workflow.start(workflowTypes.handleEvent, {
    workflowId: workflowIds.handleEvent(event.eventId),
    taskQueue: taskQueues.collector,
    args: [event],
  });
}

test('an event is logged first, then counted and evicted, once each', async () => {
  const event = received();
  const { activities, calls, names } = recordingActivities();
  await environment.withWorker(taskQueues.collector, activities, async () => {
    await (await start(event)).result();
  });
  expect(names()[0]).toBe('writeAuditLog');
  expect(names().slice(1).sort()).toEqual(['evictCache', 'updateMetrics']);
  expect(calls).toEqual(
    expect.arrayContaining([
      { name: 'writeAuditLog', input: [[event]] },
      {
        name: 'updateMetrics',
        input: [{ eventIds: [event.eventId], workflowId: event.eventId }],
      },
      { name: 'evictCache', input: [[{ value: event.value }]] },
    ]),
  );
  // All of it within the workflow's own task.
  expect(await environment.ordinaryActivitiesOf(event.eventId)).toEqual([]);
});

test('nothing is counted or evicted while the log cannot be written', async () => {
  const event = received();
  const { activities, names } = recordingActivities();
  const database = await outageOf(environment, 5 * minuteMs);
  const writeAuditLog = async (events: unknown) => {
    await database.fail();
    await activities.writeAuditLog(events);
  };
  const broken = { ...activities, writeAuditLog };
  await environment.withWorker(taskQueues.collector, broken, async () => {
    const handle = await start(event);
    await until('it is an ordinary activity', async () =>
      (await environment.ordinaryActivitiesOf(event.eventId)).includes('writeAuditLog'),
    );
    expect(names()).toEqual([]);
    await handle.result();
  });
  expect(names()[0]).toBe('writeAuditLog');
  expect(names()).toHaveLength(3);
});

test('an outage of Redis for ten minutes delays neither the log nor the metrics, and the eviction follows', async () => {
  const event = received();
  const { activities, names } = recordingActivities();
  const redis = await outageOf(environment, 10 * minuteMs);
  const evictCache = async (events: unknown) => {
    await redis.fail();
    await activities.evictCache(events);
  };
  const broken = { ...activities, evictCache };
  await environment.withWorker(taskQueues.collector, broken, async () => {
    const startedAt = await environment.currentTimeMs();
    const handle = await start(event);
    await until('it is an ordinary activity', async () =>
      (await environment.ordinaryActivitiesOf(event.eventId)).includes('evictCache'),
    );
    expect(names()).toEqual(['writeAuditLog', 'updateMetrics']);
    expect(await environment.currentTimeMs()).toBeLessThan(startedAt + minuteMs);

    await handle.result();
    expect(await environment.currentTimeMs()).toBeGreaterThanOrEqual(startedAt + 10 * minuteMs);
  });
  expect(names()).toEqual(['writeAuditLog', 'updateMetrics', 'evictCache']);
  expect(redis.tries()).toBeGreaterThan(10);
});

describe('an event whose data can never be stored is parked, and its workflow fails', () => {
  const refused = async () => {
    throw ApplicationFailure.nonRetryable('PostgreSQL refuses the data', 'DATA_REFUSED');
  };

  test.each([
    ['by the log, before anything else', 'writeAuditLog', []],
    ['by the metrics, after it is logged', 'updateMetrics', ['writeAuditLog', 'evictCache']],
  ])('%s', async (_, refusing, before) => {
    const event = received();
    const { activities, calls, names } = recordingActivities();
    const broken = { ...activities, [refusing]: refused };
    await environment.withWorker(taskQueues.collector, broken, async () => {
      const failure = await (await start(event)).result().catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(WorkflowFailedError);
      expect((failure as WorkflowFailedError).cause).toMatchObject({
        type: 'EVENT_PARKED',
        nonRetryable: true,
        message: expect.stringContaining('17'),
      });
    });
    expect(names()).toEqual([...before, 'parkEvent', 'copyToDeadLetterTopic']);
    const why = { reason: 'DATA_REFUSED', detail: 'PostgreSQL refuses the data' };
    expect(calls).toContainEqual({ name: 'parkEvent', input: [event, why, event.eventId] });
    expect(calls).toContainEqual({ name: 'copyToDeadLetterTopic', input: [17] });
  });
});
