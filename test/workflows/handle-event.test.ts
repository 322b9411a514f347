import { randomUUID } from 'node:crypto';
import { ApplicationFailure, WorkflowFailedError } from '@temporalio/client';
import type { ReceivedEvent } from '../../events/received';
import { workflowIds } from '../../events/workflow-ids';
import { notificationsTaskQueue, taskQueues, workflowTypes } from '../../events/workflow-names';
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

describe('a notification that an event is due', () => {
  const hourMs = 60 * minuteMs;

  /** Activities that record an event as sold out, and everything else that they are called with. */
  function notifying(event: ReceivedEvent) {
    const recording = recordingActivities();
    const due = [{ name: 'sold-out', eventId: event.eventId }];
    const { activities } = recording;
    return { ...recording, activities: { ...activities, updateMetrics: async () => due } };
  }

  test('holds up neither its event nor the cache, however long its receiver is away', async () => {
    const event = received();
    const { activities, names } = notifying(event);
    const away = await outageOf(environment, 10 * hourMs);
    const told: unknown[] = [];
    const notifyReceiver = async (...input: unknown[]) => {
      await away.fail().catch((error: Error) => {
        throw ApplicationFailure.create({ message: error.message, nextRetryDelay: '1 minute' });
      });
      told.push(input);
    };
    await environment.withWorker(taskQueues.collector, activities, async () => {
      // Nobody even asks the receiver yet.
      await (await start(event)).result();
      expect(names()).toEqual(['writeAuditLog', 'evictCache']);
      const startedAt = await environment.currentTimeMs();
      await environment.withWorker(notificationsTaskQueue, { notifyReceiver }, () =>
        environment.client.workflow
          .getHandle(workflowIds.notify('sold-out', event.eventId))
          .result(),
      );
      expect(told).toEqual([['sold-out', event.value]]);
      expect(await environment.currentTimeMs()).toBeGreaterThan(startedAt + 9 * hourMs);
      // One a minute, as an attempt asks for.
      expect(away.tries()).toBeGreaterThan(500);
      expect(away.tries()).toBeLessThan(700);
    });
  });

  test('is started once, when its event comes again while it is under way', async () => {
    const event = received();
    const { activities } = notifying(event);
    await environment.withWorker(taskQueues.collector, activities, async () => {
      await (await start(event)).result();
      await (
        await environment.client.workflow.start(workflowTypes.handleEventBatch, {
          workflowId: workflowIds.handleEventBatch(randomUUID()),
          taskQueue: taskQueues.collector,
          args: [[event]],
        })
      ).result();
      let told = 0;
      await environment.withWorker(
        notificationsTaskQueue,
        { notifyReceiver: () => Promise.resolve(void (told += 1)) },
        () =>
          environment.client.workflow
            .getHandle(workflowIds.notify('sold-out', event.eventId))
            .result(),
      );
      expect(told).toBe(1);
    });
  });

  test('that is refused for good is parked with its event, and its own workflow fails', async () => {
    const event = received();
    const { activities, calls } = notifying(event);
    const notificationId = workflowIds.notify('sold-out', event.eventId);
    const notifyReceiver = async () => {
      throw ApplicationFailure.nonRetryable('The receiver answered 400', 'NOTIFICATION_REFUSED');
    };
    await environment.withWorker(taskQueues.collector, activities, async () => {
      await (await start(event)).result();
      await environment.withWorker(notificationsTaskQueue, { notifyReceiver }, async () => {
        const failure = await environment.client.workflow
          .getHandle(notificationId)
          .result()
          .catch((error: unknown) => error);
        expect((failure as WorkflowFailedError).cause).toMatchObject({
          type: 'NOTIFICATION_PARKED',
          message: expect.stringContaining('17'),
        });
      });
    });
    const why = { reason: 'NOTIFICATION_REFUSED', detail: 'The receiver answered 400' };
    expect(calls).toContainEqual({ name: 'parkEvent', input: [event, why, notificationId] });
    expect(calls).toContainEqual({ name: 'copyToDeadLetterTopic', input: [17] });
  });
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
