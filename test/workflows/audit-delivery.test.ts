import { randomUUID } from 'node:crypto';
import { ApplicationFailure, WorkflowFailedError } from '@temporalio/client';
import type {
  createShopAuditActivities,
  UnconfirmedPage,
  UndecidedPage,
  UnpublishedPage,
} from '../../activities/commerce/delivery-audit';
import type { UndeliveredPage, UnhandledPage } from '../../activities/collector/delivery-audit';
import type { ReceivedEvent } from '../../events/received';
import type {
  AuditActivities,
  DeliveryAuditOptions,
  DeliveryAuditSummary,
} from '../../workflows/audit-delivery';
import { deliveryAuditScheduleId, workflowIds } from '../../events/workflow-ids';
import { notificationsTaskQueue, taskQueues, workflowTypes } from '../../events/workflow-names';
import { until } from '../../testkit/until';
import { createEnvironment, type Environment } from '../../testkit/workflow-environment';

type ShopActivities = ReturnType<typeof createShopAuditActivities>;
type CollectorActivities = Omit<AuditActivities, keyof ShopActivities>;

const minuteMs = 60_000;
const options: DeliveryAuditOptions = {
  unpublishedAfterMs: 5 * minuteMs,
  unconfirmedAfterMs: minuteMs,
  unhandledAfterMs: 10 * minuteMs,
  undecidedAfterMs: 10 * minuteMs,
};
const nothing = {
  unpublished: 0,
  republished: 0,
  confirmed: 0,
  undecided: 0,
  unhandled: 0,
  unaccounted: 0,
  undelivered: 0,
};
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

/** A shop in which everything is in order, apart from what is given. */
function shop(given: Partial<ShopActivities> = {}): ShopActivities {
  return {
    findUnpublished: (): Promise<UnpublishedPage> => Promise.resolve({ aggregates: [], events: 0 }),
    findUnconfirmed: (): Promise<UnconfirmedPage> => Promise.resolve({ publications: [] }),
    markDelivered: (eventIds) => Promise.resolve(eventIds.length),
    sendAgain: (eventIds) => Promise.resolve(eventIds.length),
    findUndecided: (): Promise<UndecidedPage> => Promise.resolve({ orderIds: [] }),
    ...given,
  };
}

/** A collector in which everything is in order, apart from what is given. */
function collector(given: Partial<CollectorActivities> = {}): CollectorActivities {
  return {
    lookUpArrivals: () => Promise.resolve({ arrived: [], lost: [] }),
    findUnhandled: (): Promise<UnhandledPage> => Promise.resolve({ eventIds: [] }),
    readLoggedEvent: () => Promise.reject(new Error('nothing was to be read')),
    noteProgress: () => Promise.resolve(0),
    accountForOffsets: () => Promise.resolve(0),
    findUndelivered: (): Promise<UndeliveredPage> => Promise.resolve({ abandoned: [] }),
    ...given,
  };
}

function audit(shopActivities: object, collectorActivities: object): Promise<DeliveryAuditSummary> {
  return withWorkers(shopActivities, collectorActivities, executeAudit);
}

function withWorkers<T>(
  shopActivities: object,
  collectorActivities: object,
  work: () => Promise<T>,
): Promise<T> {
  return environment.withWorker(taskQueues.commerce, shopActivities, () =>
    environment.withWorker(taskQueues.collector, collectorActivities, work),
  );
}

function executeAudit(): Promise<DeliveryAuditSummary> {
  type Audit = (options: DeliveryAuditOptions) => Promise<DeliveryAuditSummary>;
  return environment.client.workflow.execute<Audit>(workflowTypes.auditDelivery, {
    workflowId: `${deliveryAuditScheduleId}-${randomUUID()}`,
    taskQueue: taskQueues.commerce,
    args: [options],
  });
}

function publicationOf(eventId: string) {
  return { eventId, topic: 'catalog-events', partition: 0, offset: 1, valueHash: '' };
}

// First of all: behind other tests the server did not skip the time between its runs.
test('of many undecided orders each run resumes some, and the next one those after them, whatever part has failed', async () => {
  const asked: string[] = [];
  const pages: Record<string, UndecidedPage> = {
    '': { orderIds: [], next: 'order-2' },
    'order-2': { orderIds: [], next: 'order-4' },
    'order-4': { orderIds: [] },
  };
  const away = () => Promise.reject(ApplicationFailure.nonRetryable('PostgreSQL is away'));
  const findUndecided = ({ after }: { readonly after: string }): Promise<UndecidedPage> => {
    asked.push(after);
    return asked.length === 3 ? away() : Promise.resolve(pages[after]!);
  };
  const findUnhandled = (): Promise<UnhandledPage> =>
    asked.length === 2 ? away() : Promise.resolve({ eventIds: [] });
  await withWorkers(shop({ findUndecided }), collector({ findUnhandled }), async () => {
    const workflowId = `${deliveryAuditScheduleId}-${randomUUID()}`;
    const { client } = environment;
    await client.workflow.start(workflowTypes.auditDelivery, {
      workflowId,
      taskQueue: taskQueues.commerce,
      args: [options],
      // As a schedule does, each run gets the last one's result, and its failure if it has failed.
      cronSchedule: '* * * * *',
    });
    await until('five runs have asked', async () => {
      await environment.sleep('1 minute');
      return asked.length >= 5;
    });
    await client.workflow.getHandle(workflowId).terminate();
  });
  expect(asked.slice(0, 5)).toEqual(['', 'order-2', 'order-4', 'order-4', '']);
});

test('where all is well nothing is found, and nothing is started', async () => {
  const now = await environment.currentTimeMs();
  const summary = await audit(shop(), collector());
  expect(summary).toEqual({ ...nothing, handledUntil: expect.any(Number) });
  expect(summary.handledUntil).toBeGreaterThanOrEqual(now - options.unhandledAfterMs - 1_000);
});

test('each look asks for what is older than its own age', async () => {
  const ages: Record<string, number> = {};
  const now = await environment.currentTimeMs();
  const note = (name: string, before: number) => {
    ages[name] = Math.round((now - before) / minuteMs);
  };
  await audit(
    shop({
      findUnpublished: ({ before }) => {
        note('unpublished', before);
        return Promise.resolve({ aggregates: [], events: 0 });
      },
      findUnconfirmed: ({ before }) => {
        note('unconfirmed', before);
        return Promise.resolve({ publications: [] });
      },
      findUndecided: ({ before }) => {
        note('undecided', before);
        return Promise.resolve({ orderIds: [] });
      },
    }),
    collector({
      findUnhandled: ({ before }) => {
        note('unhandled', before);
        return Promise.resolve({ eventIds: [] });
      },
      accountForOffsets: ({ before }) => {
        note('unaccounted', before);
        return Promise.resolve(0);
      },
      findUndelivered: ({ before }) => {
        note('undelivered', before);
        return Promise.resolve({ abandoned: [] });
      },
    }),
  );
  expect(ages).toEqual({
    unpublished: 5,
    unconfirmed: 1,
    undecided: 10,
    unhandled: 10,
    unaccounted: 10,
    undelivered: 10,
  });
});

test('every page of publications is looked up: some are confirmed, some sent again, some wait', async () => {
  const pages: Record<number, UnconfirmedPage> = {
    0: { publications: ['logged-1', 'waiting'].map(publicationOf), next: 10 },
    10: { publications: [], next: 20 },
    20: { publications: ['lost', 'logged-2'].map(publicationOf) },
  };
  const confirmed: string[] = [];
  const sent: string[] = [];
  const summary = await audit(
    shop({
      findUnconfirmed: ({ after }) => Promise.resolve(pages[after]!),
      markDelivered: (eventIds) => Promise.resolve(confirmed.push(...eventIds)),
      sendAgain: (eventIds) => Promise.resolve(sent.push(...eventIds)),
    }),
    collector({
      lookUpArrivals: (publications) => {
        const ids = publications.map(({ eventId }) => eventId);
        return Promise.resolve({
          arrived: ids.filter((id) => id.startsWith('logged')),
          lost: ids.filter((id) => id === 'lost'),
        });
      },
    }),
  );
  expect(confirmed).toEqual(['logged-1', 'logged-2']);
  expect(sent).toEqual(['lost']);
  expect(summary).toMatchObject({ republished: 1 });
});

test('what was left behind gets its workflows, also where one of them runs already', async () => {
  const published: unknown[] = [];
  const handled: string[] = [];
  const running = await environment.client.workflow.start(workflowTypes.placeOrder, {
    workflowId: workflowIds.placeOrder('order-2'),
    taskQueue: 'nobody-works-here',
    args: [{ orderId: 'order-2' }],
  });
  const aggregates = [{ topic: 'order-events', key: 'order-1' }] as const;
  const received: ReceivedEvent = {
    eventId: 'event-1',
    topic: 'catalog-events',
    partition: 0,
    offset: 1,
    key: 'product-1',
    value: '{}',
    headers: [],
    producedAt: 0,
  };
  const summary = await audit(
    {
      ...shop({
        findUnpublished: () => Promise.resolve({ aggregates, events: 3, firstEventId: 'first' }),
        findUndecided: () => Promise.resolve({ orderIds: ['order-2'] }),
      }),
      publishOutbox: (given: unknown) => Promise.resolve(published.push(given)),
    },
    {
      ...collector({
        findUnhandled: () => Promise.resolve({ eventIds: ['event-1'], oldest: 42 }),
        readLoggedEvent: () => Promise.resolve(received),
      }),
      writeAuditLog: (events: ReceivedEvent[]) => {
        handled.push(...events.map(({ eventId }) => eventId));
        return Promise.resolve();
      },
      updateMetrics: () => Promise.resolve(),
      evictCache: () => Promise.resolve(),
    },
  );
  expect(summary).toMatchObject({ unpublished: 3, undecided: 1, handledUntil: 42 });
  expect(summary.unhandled).toBeGreaterThan(0);
  await environment.withWorker(
    taskQueues.commerce,
    { publishOutbox: (given: unknown) => Promise.resolve(published.push(given)) },
    () => environment.client.workflow.getHandle(workflowIds.publishEvents('first')).result(),
  );
  expect(published).toEqual([aggregates]);
  expect((await running.describe()).runId).toBe(running.firstExecutionRunId);
  await running.terminate();
});

test('a cancellation that was promised is what the workflow of its order is started with', async () => {
  const orderIds = ['order-3', 'order-4'];
  const cancellations = { 'order-4': { reason: 'changed my mind' } };
  await audit(
    shop({ findUndecided: () => Promise.resolve({ orderIds, cancellations }) }),
    collector(),
  );
  const inputs = orderIds.map(async (orderId) => {
    const handle = environment.client.workflow.getHandle(workflowIds.placeOrder(orderId));
    const { events } = await handle.fetchHistory();
    const [input] = events![0]!.workflowExecutionStartedEventAttributes!.input!.payloads!;
    await handle.terminate();
    return JSON.parse(Buffer.from(input!.data!).toString()) as unknown;
  });
  expect(await Promise.all(inputs)).toEqual([
    { orderId: 'order-3' },
    { orderId: 'order-4', cancellation: cancellations['order-4'] },
  ]);
});

test('every page of notifications that nobody delivers gets its workflows', async () => {
  const pages: Record<string, UndeliveredPage> = {
    '': {
      abandoned: [{ name: 'sold-out', eventId: 'told-1' }],
      next: { name: 'sold-out', eventId: 'told-1' },
    },
    'told-1': { abandoned: [{ name: 'sold-out', eventId: 'told-2' }] },
  };
  const told: string[] = [];
  const readLoggedEvent = (eventId: string): Promise<ReceivedEvent> =>
    Promise.resolve({
      eventId,
      topic: 'catalog-events',
      partition: 0,
      offset: 1,
      key: 'product-1',
      value: eventId,
      headers: [],
      producedAt: 0,
    });
  const findUndelivered: CollectorActivities['findUndelivered'] = ({ after }) =>
    Promise.resolve(pages[after.eventId]!);
  const notifyReceiver = (_name: string, value: string) => Promise.resolve(told.push(value));
  await environment.withWorker(notificationsTaskQueue, { notifyReceiver }, () =>
    withWorkers(shop(), collector({ findUndelivered, readLoggedEvent }), async () => {
      expect(await executeAudit()).toEqual({
        ...nothing,
        undelivered: 2,
        handledUntil: expect.any(Number) as unknown,
      });
      for (const eventId of ['told-1', 'told-2']) {
        const { notify } = workflowIds;
        await environment.client.workflow.getHandle(notify('sold-out', eventId)).result();
      }
    }),
  );
  expect(told.toSorted()).toEqual(['told-1', 'told-2']);
});

test('messages that are read again are told', async () => {
  const accountForOffsets = () => Promise.resolve(1_002);
  const summary = await audit(shop(), collector({ accountForOffsets }));
  expect(summary).toMatchObject({ ...nothing, unaccounted: 1_002 });
});

test('a failed part is reported at the end, after the others were audited', async () => {
  let lookedForOrders = false;
  const failed = audit(
    shop({
      findUnconfirmed: () => Promise.resolve({ publications: [publicationOf('event-1')] }),
      findUndecided: () => {
        lookedForOrders = true;
        return Promise.resolve({ orderIds: [] });
      },
    }),
    collector({
      lookUpArrivals: () => Promise.reject(ApplicationFailure.nonRetryable('Kafka is away')),
    }),
  );
  const error = await failed.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(WorkflowFailedError);
  const { cause } = error as WorkflowFailedError;
  expect(cause).toBeInstanceOf(ApplicationFailure);
  expect(cause).toMatchObject({ type: 'AUDIT_INCOMPLETE' });
  expect((cause as Error).message).toContain('unconfirmed events: Kafka is away');
  expect(lookedForOrders).toBe(true);
});
