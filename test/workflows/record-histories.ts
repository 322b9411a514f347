/**
 * Records the histories that `replay.test.ts` replays, a run of each workflow with activities that are
 * made up:
 *
 *   node launch.mjs run test/workflows/record-histories.ts [NAME …]
 *
 * What it writes to `histories/` stands for the runs that are under way when a new version of the
 * workflows is deployed. So a history is recorded once, when its workflow is new or deliberately
 * changed, and not to make a failing replay pass.
 */
import {
  ApplicationFailure,
  WithStartWorkflowOperation,
  WorkflowFailedError,
} from '@temporalio/client';
import type { CancelledPayment } from '../../activities/commerce/orders';
import type { EarlierLookup, OrderCharge } from '../../activities/commerce/payments';
import { adjustStock } from '../../events/commands/adjust-stock';
import { changeLike } from '../../events/commands/change-like';
import { registerProduct } from '../../events/commands/register-product';
import {
  cancelUpdate,
  decisionUpdate,
  notificationsTaskQueue,
  taskQueues,
  workflowTypes,
} from '../../events/workflow-names';
import { runProgram } from '../../platform/process/program';
import { until } from '../../testkit/until';
import { createEnvironment, type Environment } from '../../testkit/workflow-environment';
import { writeHistory, type History } from './histories';

type ActivityFake = (...input: never[]) => Promise<unknown>;

interface Recording {
  readonly name: string;
  readonly workflowType: string;
  readonly taskQueue?: string;
  readonly args: unknown[];
  readonly activities: Readonly<Record<string, ActivityFake>>;
  /** Updates that are sent together with the start, one after the other. */
  readonly updates?: readonly { readonly name: string; readonly args: unknown[] }[];
  /** An activity that has to get from the workflow's own task to an ordinary one first. */
  readonly untilOrdinary?: string;
}

const answering =
  (result?: unknown): ActivityFake =>
  async () =>
    result;

/** Fails a number of times, then answers. */
function failing(times: number, result?: unknown): ActivityFake {
  let left = times;
  return async () => {
    left -= 1;
    if (left >= 0) throw new Error('away');
    return result;
  };
}

const refusing: ActivityFake = async () => {
  throw ApplicationFailure.nonRetryable('refused', 'DATA_REFUSED');
};

/** More attempts than a local activity makes. */
const longOutage = 8;

const place = { topic: 'catalog-events', partition: 0, offset: 1 };
const event = {
  ...place,
  eventId: '2f400afe-2b89-5ffc-b108-b6e098173a0c',
  key: 'product-1',
  value: '{"data":{"productId":"product-1"}}',
  headers: [],
  producedAt: 1767225600000,
};
const message = {
  ...event,
  key: { text: 'product-1' },
  reason: 'NOT_JSON',
  detail: 'The value is not JSON.',
};
const offsets = { ...place, lastOffset: 3, reason: 'BROKEN_BATCH', detail: 'A checksum.' };
const product = { productId: 'product-1', name: 'Mug', price: 900, stock: 5 };
const adjustment = { adjustmentId: 'a', productId: 'product-1', delta: -1, reason: 'correction' };
const adjusted = { kind: 'adjusted', stock: 4, version: 2, eventId: 'event-1' };
const like = { requestId: 'r', productId: 'product-1', userId: 'user-1', liked: true };
const order = {
  orderId: 'o',
  request: {
    userId: 'user-1',
    items: [{ productId: 'product-1', quantity: 1 }],
    paymentToken: 'tok_approve',
  },
};
const placed = {
  kind: 'order',
  status: 'PLACED',
  totalAmount: 900,
  productIds: ['product-1'],
  reason: null,
};
const cancelled = {
  ...placed,
  status: 'CANCELLED',
  cancellation: { cause: 'requested', reason: 'said to another run' },
};
const orderActivities = {
  reserveStock: answering(placed),
  findOrder: answering(placed),
  findCharge: answering('payment-1'),
  chargeOrder: answering({ kind: 'captured', paymentId: 'payment-1' }),
  confirmOrder: answering('CONFIRMED'),
  voidPayment: answering('charge-1'),
  cancelOrder: answering(),
  publishOutbox: answering(),
};
const effects = {
  writeAuditLog: answering({ eventIds: ['event-1'], staleProducts: ['product-1'], conflicts: [] }),
  updateMetrics: answering(),
  evictCache: answering(),
  parkEvent: answering(17),
  copyToDeadLetterTopic: answering(),
};
const notifyingEffects = {
  ...effects,
  notifyReceiver: answering(),
  updateMetrics: answering([{ name: 'sold-out', eventId: event.eventId }]),
};
/** Effects of an event that came again, as workers answer since they count repeats. */
const repeatedEffects = {
  ...effects,
  writeAuditLog: answering({
    eventIds: [event.eventId],
    staleProducts: ['product-1'],
    conflicts: [],
    elsewhere: [{ ...place, offset: 2, eventId: event.eventId }],
  }),
  updateMetrics: answering({ due: [], repeats: 1 }),
};
const redrive = { deadLetterId: 17, attempt: 1, by: 'operator', again: false };
const redriveActivities = {
  claimRedrive: answering({ kind: 'claimed' }),
  sendRedriven: answering({ topic: 'catalog-events', partition: 0, offset: 2 }),
  settleRedrive: answering(),
  abandonRedrive: answering(),
};
const auditOptions = {
  unpublishedAfterMs: 300_000,
  unconfirmedAfterMs: 300_000,
  unhandledAfterMs: 600_000,
  undecidedAfterMs: 900_000,
};

const decision = { name: decisionUpdate, args: [] };
const { collector } = taskQueues;

const recordings: readonly Recording[] = [
  {
    name: 'register-product',
    workflowType: registerProduct.name,
    args: [product],
    activities: {
      createProduct: answering({ ...product, version: 1, eventId: 'event-1' }),
      publishOutbox: failing(3),
    },
    updates: [decision],
  },
  {
    name: 'adjust-stock',
    workflowType: adjustStock.name,
    args: [adjustment],
    activities: { changeStock: answering(adjusted), publishOutbox: failing(3) },
    updates: [decision, decision],
  },
  {
    name: 'adjust-stock-out-of-range',
    workflowType: adjustStock.name,
    args: [adjustment],
    activities: { changeStock: answering({ kind: 'stock-out-of-range', stock: 0 }) },
    updates: [decision],
  },
  {
    name: 'adjust-stock-database-away',
    workflowType: adjustStock.name,
    args: [adjustment],
    activities: { changeStock: failing(longOutage, adjusted), publishOutbox: answering() },
    updates: [decision],
  },
  {
    name: 'change-like',
    workflowType: changeLike.name,
    args: [like],
    activities: {
      setLike: answering({ kind: 'liked', likeCount: 1, changed: true }),
      publishOutbox: answering(),
    },
    updates: [decision],
  },
  {
    name: 'place-order',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: { ...orderActivities, publishOutbox: failing(3) },
    updates: [decision],
  },
  // Those of orders without 'at-once' and 'patiently' are of the version before charging within the task.
  {
    name: 'place-order-charged-at-once',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: orderActivities,
    updates: [decision],
  },
  {
    name: 'place-order-charged-patiently',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      chargeOrder: failing(2, { kind: 'captured', paymentId: 'payment-1' }),
    },
    updates: [decision],
  },
  {
    name: 'place-order-out-of-stock',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      reserveStock: answering({ kind: 'out-of-stock', productId: 'product-1', stock: 0 }),
    },
    updates: [decision],
  },
  {
    name: 'place-order-declined',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      chargeOrder: answering({ kind: 'declined', reason: 'card declined' }),
      voidPayment: failing(2, null),
    },
    updates: [decision],
  },
  // 'charge-found', 'cancelled-by-another-run' and 'resumed' are of the version that looked with
  // `reserveStock` and `chargeOrder`, without a request and without a token.
  ...['place-order-charge-found', 'place-order-charge-looked-up'].map((name) => ({
    name,
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      chargeOrder: async ({ paymentToken }: OrderCharge | EarlierLookup) => {
        if (paymentToken !== undefined) throw new Error('away');
        return { kind: 'captured', paymentId: 'payment-1' };
      },
    },
    updates: [decision],
  })),
  {
    name: 'place-order-charge-looked-up-by-the-version-before',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      findCharge: async () => {
        throw ApplicationFailure.retryable('not registered', 'NotFoundError');
      },
      chargeOrder: async ({ paymentToken }: OrderCharge | EarlierLookup) => {
        if (paymentToken !== undefined) throw new Error('away');
        return { kind: 'captured', paymentId: 'payment-1' };
      },
    },
    updates: [decision],
  },
  ...['place-order-cancelled-by-another-run', 'place-order-looked-up'].map((name) => ({
    name,
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      reserveStock: async (_orderId: string, request?: object) =>
        request === undefined ? cancelled : placed,
      confirmOrder: answering('CANCELLED'),
      findOrder: answering(cancelled),
    },
    updates: [decision],
  })),
  ...['place-order-resumed', 'place-order-resumed-by-looking'].map((name) => ({
    name,
    workflowType: workflowTypes.placeOrder,
    args: [{ orderId: 'o' }],
    activities: orderActivities,
    updates: [decision],
  })),
  {
    name: 'place-order-unconfirmable',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: {
      ...orderActivities,
      confirmOrder: refusing,
      cancelOrder: async (_orderId: string, _cancellation: object, payment: CancelledPayment) =>
        payment.paymentId === null ? undefined : refusing(),
    },
    updates: [decision],
  },
  {
    name: 'place-order-cancelled-while-publishing',
    workflowType: workflowTypes.placeOrder,
    args: [order],
    activities: { ...orderActivities, publishOutbox: failing(6) },
    updates: [decision, { name: cancelUpdate, args: [{ reason: 'changed my mind' }] }],
  },
  {
    name: 'publish-events',
    workflowType: workflowTypes.publishEvents,
    args: [{ aggregates: [{ topic: 'catalog-events', key: 'product-1' }], events: [event] }],
    activities: { publishOutbox: failing(2), publishDirectly: answering() },
  },
  {
    name: 'handle-event',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: effects,
  },
  {
    name: 'handle-event-redis-away',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: { ...effects, evictCache: failing(longOutage) },
    untilOrdinary: 'evictCache',
  },
  {
    name: 'handle-event-redis-away-for-good',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: { ...effects, evictCache: failing(Infinity), giveUpEviction: answering(undefined) },
    untilOrdinary: 'evictCache',
  },
  {
    name: 'handle-event-parked',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: { ...effects, writeAuditLog: refusing },
  },
  {
    name: 'handle-event-batch',
    workflowType: workflowTypes.handleEventBatch,
    taskQueue: collector,
    args: [[event, { ...event, eventId: 'event-2', offset: 2 }]],
    activities: effects,
  },
  {
    name: 'handle-event-batch-of-a-conflict',
    workflowType: workflowTypes.handleEventBatch,
    taskQueue: collector,
    args: [[event, { ...event, offset: 2 }]],
    activities: {
      ...effects,
      writeAuditLog: answering({
        eventIds: ['event-1'],
        staleProducts: ['product-1'],
        conflicts: [
          {
            ...{ ...place, offset: 2, eventId: event.eventId, source: '/b' },
            logged: { ...place, source: '/a' },
          },
        ],
      }),
    },
  },
  {
    name: 'handle-event-batch-encoded',
    workflowType: workflowTypes.handleEventBatch,
    taskQueue: collector,
    args: [[event, { ...event, eventId: 'event-2', offset: 2 }]],
    activities: effects,
  },
  {
    name: 'handle-event-batch-halved',
    workflowType: workflowTypes.handleEventBatch,
    taskQueue: collector,
    args: [[event, { ...event, eventId: 'event-2', offset: 2 }]],
    activities: { ...effects, writeAuditLog: refusing },
  },
  // Those before are of the version whose workflows had no result.
  {
    name: 'handle-event-with-result',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: { ...effects, updateMetrics: answering({ due: [], repeats: 0 }) },
  },
  {
    name: 'handle-event-repeated',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [{ ...event, offset: 2 }],
    activities: repeatedEffects,
  },
  {
    name: 'handle-event-batch-repeated',
    workflowType: workflowTypes.handleEventBatch,
    taskQueue: collector,
    args: [[{ ...event, offset: 2 }]],
    activities: repeatedEffects,
  },
  {
    name: 'park-dead-letter',
    workflowType: workflowTypes.parkDeadLetter,
    taskQueue: collector,
    args: [message, Buffer.from([0x00, 0xff])],
    activities: { parkMessage: answering(17), copyToDeadLetterTopic: failing(2) },
  },
  {
    name: 'park-dead-letter-by-coordinates',
    workflowType: workflowTypes.parkDeadLetter,
    taskQueue: collector,
    args: [offsets],
    activities: { parkOffsets: failing(2, 17), copyToDeadLetterTopic: answering() },
  },
  {
    name: 'record-vanished-offsets',
    workflowType: workflowTypes.recordVanishedOffsets,
    taskQueue: collector,
    args: [{ topic: 'catalog-events', partition: 0, from: 3, to: 5, reason: 'RETENTION' }],
    activities: { recordVanished: answering() },
  },
  {
    name: 'handle-event-id-conflict',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: {
      writeAuditLog: answering([
        { ...place, eventId: event.eventId, source: '/b', logged: { ...place, source: '/a' } },
      ]),
      parkEvent: answering(17),
      copyToDeadLetterTopic: answering(),
    },
  },
  {
    name: 'handle-event-with-notification',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: notifyingEffects,
  },
  {
    name: 'handle-event-with-notification-redis-away',
    workflowType: workflowTypes.handleEvent,
    taskQueue: collector,
    args: [event],
    activities: { ...notifyingEffects, evictCache: failing(longOutage) },
    untilOrdinary: 'evictCache',
  },
  {
    name: 'notify',
    workflowType: workflowTypes.notify,
    taskQueue: collector,
    args: ['sold-out', event],
    activities: { ...effects, notifyReceiver: failing(2) },
  },
  {
    name: 'notify-refused',
    workflowType: workflowTypes.notify,
    taskQueue: collector,
    args: ['sold-out', event],
    activities: { ...effects, notifyReceiver: refusing },
  },
  {
    name: 'redrive-dead-letter',
    workflowType: workflowTypes.redriveDeadLetter,
    taskQueue: collector,
    args: [redrive],
    activities: { ...redriveActivities, sendRedriven: failing(2, message) },
  },
  {
    name: 'redrive-dead-letter-refused',
    workflowType: workflowTypes.redriveDeadLetter,
    taskQueue: collector,
    args: [redrive],
    activities: { ...redriveActivities, sendRedriven: refusing },
  },
  {
    name: 'discard-dead-letter',
    workflowType: workflowTypes.discardDeadLetter,
    taskQueue: collector,
    args: [{ deadLetterId: 17, by: 'operator', reason: 'a test' }],
    activities: { markDiscarded: answering({ kind: 'discarded' }) },
  },
  // 'audit-delivery-noting-progress' is of the version before notifications, and
  // 'audit-delivery-finding-undelivered' of the one before offsets were accounted for.
  {
    name: 'audit-delivery-accounting-for-offsets',
    workflowType: workflowTypes.auditDelivery,
    taskQueue: collector,
    args: [auditOptions],
    activities: {
      ...orderActivities,
      ...effects,
      notifyReceiver: answering(),
      findUndelivered: answering({ abandoned: [{ name: 'sold-out', eventId: event.eventId }] }),
      findUnpublished: answering({
        aggregates: [{ topic: 'catalog-events', key: 'product-1' }],
        firstEventId: 'event-1',
        events: 2,
      }),
      findUnconfirmed: answering({
        publications: [
          { eventId: 'event-3', topic: 'catalog-events', partition: 0, offset: 1 },
          { eventId: 'event-4', topic: 'catalog-events', partition: 0, offset: 2 },
        ],
      }),
      lookUpArrivals: answering({ arrived: ['event-3'], lost: ['event-4'] }),
      markDelivered: answering(1),
      sendAgain: answering(1),
      findUndecided: answering({ orderIds: ['o-audited'] }),
      findUnhandled: answering({ eventIds: [] }),
      readLoggedEvent: answering(event),
      noteProgress: answering(0),
      accountForOffsets: answering(2),
    },
  },
];

async function main(names: readonly string[]): Promise<void> {
  const environment = await createEnvironment();
  try {
    for (const recording of recordings) {
      if (names.length > 0 && !names.includes(recording.name)) continue;
      await writeHistory(recording.name, await record(environment, recording));
      console.log(recording.name);
    }
  } finally {
    await environment.stop();
  }
}

async function record(environment: Environment, recording: Recording): Promise<History> {
  const { name, activities, untilOrdinary } = recording;
  return withWorkers(environment, activities, async () => {
    await start(environment, recording);
    const handle = environment.client.workflow.getHandle(name);
    // Awaiting the result skips time; the attempts of local activities need it.
    if (untilOrdinary !== undefined) {
      await until(`${untilOrdinary} is an ordinary activity`, async () =>
        (await environment.ordinaryActivitiesOf(name)).includes(untilOrdinary),
      );
    }
    await handle.result().catch((error: unknown) => {
      if (!(error instanceof WorkflowFailedError)) throw error;
    });
    return handle.fetchHistory();
  });
}

function withWorkers<T>(
  environment: Environment,
  activities: object,
  work: () => Promise<T>,
): Promise<T> {
  return environment.withWorker(taskQueues.commerce, activities, () =>
    environment.withWorker(collector, activities, () =>
      environment.withWorker(notificationsTaskQueue, activities, work),
    ),
  );
}

type AnyWorkflow = (...args: unknown[]) => Promise<unknown>;

async function start({ client }: Environment, recording: Recording): Promise<void> {
  const { name, workflowType, taskQueue = taskQueues.commerce, args, updates = [] } = recording;
  const options = { workflowId: name, taskQueue, args };
  if (updates.length === 0) await client.workflow.start(workflowType, options);
  for (const update of updates) {
    await client.workflow.executeUpdateWithStart<AnyWorkflow, unknown, unknown[]>(update.name, {
      args: update.args,
      startWorkflowOperation: new WithStartWorkflowOperation<AnyWorkflow>(workflowType, {
        ...options,
        workflowIdConflictPolicy: 'USE_EXISTING',
      }),
    });
  }
}

runProgram(() => main(process.argv.slice(2)));
