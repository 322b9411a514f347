import { randomUUID } from 'node:crypto';
import { ApplicationFailure, WorkflowFailedError } from '@temporalio/client';
import type { LoggedEvents } from '../../activities/collector/audit-log';
import { staleAtMostMs } from '../../events/cached-details';
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
      writeAuditLog: async (events: readonly ReceivedEvent[]): Promise<LoggedEvents> => {
        calls.push({ name: 'writeAuditLog', input: [events] });
        const eventIds = events.map(({ eventId }) => eventId);
        return { eventIds, staleProducts: ['product-1'], conflicts: [] };
      },
      updateMetrics: record('updateMetrics', undefined),
      evictCache: record('evictCache', undefined),
      giveUpEviction: record('giveUpEviction', undefined),
      parkEvent: record('parkEvent', 17),
      copyToDeadLetterTopic: record('copyToDeadLetterTopic', undefined),
    },
  };
}

/** What `updateMetrics` is called with. */
function updateOf(eventIds: readonly string[], workflowId: string) {
  return { eventIds, workflowId, runStartedAt: expect.any(Number) as number };
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
        input: [updateOf([event.eventId], event.eventId)],
      },
      { name: 'evictCache', input: [['product-1']] },
    ]),
  );
  // All of it within the workflow's own task.
  expect(await environment.ordinaryActivitiesOf(event.eventId)).toEqual([]);
});

function startBatch(events: readonly ReceivedEvent[]) {
  return environment.client.workflow.start(workflowTypes.handleEventBatch, {
    workflowId: workflowIds.handleEventBatch(randomUUID()),
    taskQueue: taskQueues.collector,
    args: [events],
  });
}

test('the events of a batch go to one activity, and the others get what it returns', async () => {
  const events = [received(), received()];
  const { activities, calls } = recordingActivities();
  const batch = await environment.withWorker(taskQueues.collector, activities, async () => {
    const started = await startBatch(events);
    await started.result();
    return started;
  });
  const eventIds = events.map(({ eventId }) => eventId);
  expect(calls[0]).toEqual({ name: 'writeAuditLog', input: [events] });
  expect(calls.slice(1)).toEqual(
    expect.arrayContaining([
      { name: 'updateMetrics', input: [updateOf(eventIds, batch.workflowId)] },
      { name: 'evictCache', input: [['product-1']] },
    ]),
  );
  expect(calls).toHaveLength(3);
});

test('an event of a batch that has the ID of another is parked, and takes no effect', async () => {
  const [event, other] = [received(), { ...received(), offset: 8 }];
  const { activities, calls } = recordingActivities();
  const { topic, partition, offset, eventId } = other;
  const conflict = { topic, partition, offset, eventId, source: '/b' };
  const logged = { topic, partition, offset: 3, source: '/a' };
  const writeAuditLog = async (): Promise<LoggedEvents> => ({
    eventIds: [event.eventId],
    staleProducts: [],
    conflicts: [{ ...conflict, logged }],
  });
  const broken = { ...activities, writeAuditLog };
  await environment.withWorker(taskQueues.collector, broken, async () => {
    const batch = await startBatch([event, other]);
    await expect(batch.result()).rejects.toBeInstanceOf(WorkflowFailedError);
    const { workflowId } = batch;
    const why = expect.objectContaining({ reason: 'EVENT_ID_CONFLICT' });
    expect(calls).toContainEqual({ name: 'parkEvent', input: [other, why, workflowId] });
    expect(calls).toContainEqual({
      name: 'updateMetrics',
      input: [updateOf([event.eventId], workflowId)],
    });
  });
});

test('a batch of 2,000 events that all have the IDs of others is parked whole', async () => {
  const events = Array.from({ length: 2_000 }, (_, offset) => ({ ...received(), offset }));
  const { activities } = recordingActivities();
  const parked = new Set<number>();
  const broken = {
    ...activities,
    writeAuditLog: async (): Promise<LoggedEvents> => ({
      eventIds: [],
      staleProducts: [],
      conflicts: events.map(({ topic, partition, offset, eventId }) => ({
        ...{ topic, partition, offset, eventId, source: '/b' },
        logged: { topic, partition, offset: 3, source: '/a' },
      })),
    }),
    parkEvent: async ({ offset }: ReceivedEvent) => {
      parked.add(offset);
      return offset;
    },
  };
  await environment.withWorker(taskQueues.collector, broken, async () => {
    await expect((await startBatch(events)).result()).rejects.toBeInstanceOf(WorkflowFailedError);
  });
  expect(parked.size).toBe(2_000);
}, 120_000);

function withIds(answer: unknown, { eventId }: ReceivedEvent): unknown {
  return Array.isArray(answer) || answer === undefined
    ? answer
    : { ...(answer as object), eventIds: [eventId] };
}

describe('the result says what was done', () => {
  /** Activities of a worker that finds some of the deliveries to be repeats. */
  function finding(repeats: number) {
    const { activities, calls } = recordingActivities();
    const updateMetrics = async (update: object) => {
      calls.push({ name: 'updateMetrics', input: [update] });
      return { due: [], repeats };
    };
    return { calls, activities: { ...activities, updateMetrics } };
  }

  test.each([
    ['an event that took effect', 0, 'handled'],
    ['one that was handled before', 1, 'repeat'],
  ])('of %s', async (_, repeats, outcome) => {
    const event = received();
    const { activities } = finding(repeats);
    await environment.withWorker(taskQueues.collector, activities, async () => {
      const result = await (await start(event)).result();
      expect(result).toEqual({ outcome, evicted: ['product-1'], notified: [] });
    });
  });

  test('of a batch in figures, and where the repeats stood is passed on', async () => {
    const [first, again] = [received(), received()];
    const { activities, calls } = finding(1);
    const { topic, partition, offset, eventId } = again;
    const elsewhere = [{ topic, partition, offset, eventId }];
    const writeAuditLog = async (events: readonly ReceivedEvent[]): Promise<LoggedEvents> => ({
      ...(await activities.writeAuditLog(events)),
      elsewhere,
    });
    const comparing = { ...activities, writeAuditLog };
    await environment.withWorker(taskQueues.collector, comparing, async () => {
      const batch = await startBatch([first, again]);
      expect(await batch.result()).toEqual({ handled: 1, repeats: 1, evicted: 1, notified: 0 });
      const update = updateOf([first.eventId, eventId], batch.workflowId);
      expect(calls).toContainEqual({ name: 'updateMetrics', input: [{ ...update, elsewhere }] });
    });
  });

  test('of a batch of which some is parked, in the details of the failure', async () => {
    const [event, other] = [received(), { ...received(), offset: 8 }];
    const { activities } = finding(0);
    const { topic, partition, offset, eventId } = other;
    const writeAuditLog = async (): Promise<LoggedEvents> => ({
      eventIds: [event.eventId],
      staleProducts: ['product-1'],
      conflicts: [
        {
          ...{ topic, partition, offset, eventId, source: '/b' },
          logged: { topic, partition, offset: 3, source: '/a' },
        },
      ],
    });
    await environment.withWorker(
      taskQueues.collector,
      { ...activities, writeAuditLog },
      async () => {
        const batch = await startBatch([event, other]);
        const failure = await batch.result().catch((error: unknown) => error);
        expect((failure as WorkflowFailedError).cause).toMatchObject({
          type: 'EVENT_PARKED',
          details: [{ handled: 1, repeats: 0, evicted: 1, notified: 0, parked: 1 }],
        });
      },
    );
  });
});

describe('what a worker of another version has logged', () => {
  test.each([
    ['without conflicts', undefined],
    ['without conflicts, in a later one', []],
    ['of events whose products it cannot tell', { conflicts: [], staleProducts: null }],
  ])('is counted and evicted by what the events are: %s', async (_, answer) => {
    const event = received();
    const { activities, calls } = recordingActivities();
    const earlier = { ...activities, writeAuditLog: async () => withIds(answer, event) };
    await environment.withWorker(taskQueues.collector, earlier, async () => {
      await (await start(event)).result();
    });
    const { eventId, value } = event;
    expect(calls).toEqual([
      { name: 'updateMetrics', input: [updateOf([eventId], eventId)] },
      { name: 'evictCache', input: [[{ value }]] },
    ]);
  });
});

test('nothing is counted or evicted while the log cannot be written', async () => {
  const event = received();
  const { activities, names } = recordingActivities();
  const database = await outageOf(environment, 5 * minuteMs);
  const writeAuditLog = async (events: readonly ReceivedEvent[]) => {
    await database.fail();
    return activities.writeAuditLog(events);
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

test('an outage of Redis for four minutes delays neither the log nor the metrics, and the eviction follows', async () => {
  const event = received();
  const { activities, names } = recordingActivities();
  const redis = await outageOf(environment, 4 * minuteMs);
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
    expect(await environment.currentTimeMs()).toBeGreaterThanOrEqual(startedAt + 4 * minuteMs);
  });
  expect(names()).toEqual(['writeAuditLog', 'updateMetrics', 'evictCache']);
  expect(redis.tries()).toBeGreaterThan(10);
});

test('an eviction that waits for Redis is given up when nothing stale can be left', async () => {
  const event = received();
  const { activities, names, calls } = recordingActivities();
  const redis = await outageOf(environment, 60 * minuteMs);
  const evictCache = () => redis.fail();
  const broken = { ...activities, evictCache };
  await environment.withWorker(taskQueues.collector, broken, async () => {
    const handle = await start(event);
    await until('it is an ordinary activity', async () =>
      (await environment.ordinaryActivitiesOf(event.eventId)).includes('evictCache'),
    );
    await handle.result();
    const tookMs = await environment.durationMsOf(event.eventId);
    expect(tookMs).toBeGreaterThan(staleAtMostMs - minuteMs / 2);
    expect(tookMs).toBeLessThan(staleAtMostMs + minuteMs);
  });
  expect(names()).toEqual(['writeAuditLog', 'updateMetrics', 'giveUpEviction']);
  expect(calls.at(-1)!.input).toEqual([['product-1']]);
});

describe('a notification that an event is due', () => {
  const hourMs = 60 * minuteMs;

  /** Activities that record an event as sold out, and everything else that they are called with. */
  function notifying(event: ReceivedEvent) {
    const recording = recordingActivities();
    const due = [{ name: 'sold-out', eventId: event.eventId }];
    const { activities } = recording;
    const updateMetrics = async () => ({ due, repeats: 0 });
    return { ...recording, activities: { ...activities, updateMetrics } };
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
      expect(await (await start(event)).result()).toMatchObject({ notified: ['sold-out'] });
      expect(await (await startBatch([event])).result()).toMatchObject({ notified: 1 });
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
