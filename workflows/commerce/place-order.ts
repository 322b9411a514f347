/**
 * `placeOrder`: the saga of an order. Reserve stock, charge, confirm; a failure or cancellation is
 * compensated in reverse, with unlimited retries.
 *
 * The database holds the order's status, and every step is idempotent. So a new run under the same ID
 * can resume an order at any time, also to cancel it later.
 */
import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineUpdate,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  upsertSearchAttributes,
  type ActivityOptions,
  type LocalActivityOptions,
} from '@temporalio/workflow';
import type {
  CancelledPayment,
  createOrderActivities,
  OrderState,
} from '../../activities/commerce/orders';
import type {
  ChargeOutcome,
  createPaymentActivities,
  EarlierLookup,
  OrderCharge,
} from '../../activities/commerce/payments';
import type { Aggregate, createPublishActivities } from '../../activities/commerce/publish';
import type {
  Cancellation,
  CancelOrder,
  OrderOutcome,
  OrderStatus,
  PlaceOrder,
} from '../../events/orders';
import {
  isFinal,
  localFirst,
  untilAcknowledged,
  untilItSucceeds,
  untilStateChanges,
} from '../activity-policies';
import {
  cancelUpdate,
  decisionUpdate,
  orderStateQuery,
  searchAttributes,
  waitingTaskQueues,
} from '../../events/workflow-names';

/**
 * Timeout of a charge, lookups and retries included: longer than one attempt with its lookup, and
 * enough below the caller's 10 seconds that voiding it still fits in.
 */
const paymentTimeout = '7 seconds';

/**
 * Timeout of an unpaid order; then its cancellation begins. It is decided when the gateway has
 * confirmed that no money is held, however long that takes. A paid order is confirmed, however long
 * that takes.
 */
const orderTimeout = '5 minutes';

/**
 * Nearly every charge completes at once. As a local activity, an approved order is decided in one
 * workflow task; meanwhile it receives no cancellation, so the timeout is short.
 */
const withinTask: LocalActivityOptions = {
  startToCloseTimeout: '1 second',
  retry: { maximumAttempts: 1 },
};

/** An attempt gives the gateway a few seconds; then its outcome is looked up. */
const untilPaymentTimeout: ActivityOptions = {
  taskQueue: waitingTaskQueues.payments,
  startToCloseTimeout: '10 seconds',
  retry: {
    initialInterval: '200 milliseconds',
    backoffCoefficient: 2,
    maximumInterval: '2 seconds',
  },
};

/** A single attempt, which only looks up. */
const once: ActivityOptions = {
  taskQueue: waitingTaskQueues.payments,
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 1 },
};

/** Unlimited retries, in slots of their own: those that wait take none from new charges. */
const untilRefunded: ActivityOptions = { ...untilItSucceeds, taskQueue: waitingTaskQueues.refunds };

type Orders = ReturnType<typeof createOrderActivities>;
type Payments = ReturnType<typeof createPaymentActivities>;

const orders = localFirst<Orders>(untilStateChanges);
const charging = proxyActivities<Payments>(untilPaymentTimeout);
const chargingAtOnce = proxyLocalActivities<Payments>(withinTask);
const lastLook = proxyActivities<Payments>(once);
const compensation = proxyActivities<Payments>(untilRefunded);
const publication = proxyActivities<ReturnType<typeof createPublishActivities>>(untilAcknowledged);

/** Progress of an order, as the query returns it. */
export interface OrderProgress {
  /** `RESERVING` until the stock is reserved, `REFUSED` if nothing was placed. */
  readonly status: OrderStatus | 'RESERVING' | 'REFUSED';
  /** The current step. */
  readonly step: 'reserve' | 'charge' | 'confirm' | 'compensate' | 'publish' | 'done';
}

/** Returns the order's outcome as soon as it is decided, while its events are still being published. */
const decision = defineUpdate<OrderOutcome>(decisionUpdate);

/** Cancels the order at any step; idempotent. */
const cancel = defineUpdate<OrderOutcome, [CancelOrder]>(cancelUpdate);

/** Progress of the order. */
const orderState = defineQuery<OrderProgress>(orderStateQuery);

/** State of this run. */
interface Run {
  readonly orderId: string;
  progress: OrderProgress;
  /** The order's last decision; a confirmed order may still be cancelled. */
  outcome?: OrderOutcome;
  /** Why the order is to be cancelled: the first request or, unless paid by then, the timeout. */
  callOff?: Cancellation;
}

/** Places or resumes the order, and returns when it is decided and its events are published. */
export async function placeOrder(command: PlaceOrder): Promise<OrderOutcome> {
  const { orderId, request, cancellation } = command;
  const run: Run = { orderId, progress: { status: 'RESERVING', step: 'reserve' } };
  if (cancellation !== undefined) callOffAsRequested(run, cancellation);
  answerQuestions(run);
  const order = await withinOrderTimeout(run, async () => {
    const placed = await (request === undefined
      ? findOrder(orderId)
      : orders.reserveStock(orderId, request));
    if (placed.kind !== 'order') {
      decide(run, placed, 'REFUSED');
      return undefined;
    }
    await resume(run, placed, request?.paymentToken);
    return placed;
  });
  if (order !== undefined) await publishAndAwaitCancellation(run, order);
  proceed(run, { ...run.progress, step: 'done' });
  await condition(allHandlersFinished);
  return run.outcome!;
}

function findOrder(orderId: string): ReturnType<Orders['findOrder']> {
  return readsAlone() ? orders.findOrder(orderId) : orders.reserveStock(orderId, undefined);
}

/** Whether what only looks has activities of its own. Runs of an earlier version keep their old path. */
function readsAlone(): boolean {
  return patched('reads-of-their-own');
}

function answerQuestions(run: Run): void {
  setHandler(orderState, () => run.progress);
  setHandler(decision, async () => {
    await condition(() => run.outcome !== undefined);
    return run.outcome!;
  });
  setHandler(
    cancel,
    async (cancellation) => {
      if (!isRequested(run)) callOffAsRequested(run, cancellation);
      await condition(() => run.outcome !== undefined && run.outcome.kind !== 'confirmed');
      return run.outcome!;
    },
    {
      validator: ({ reason }: CancelOrder) => {
        if (reason.length > 500) throw new Error('The reason has more than 500 characters.');
      },
    },
  );
}

function callOffAsRequested(run: Run, { reason }: CancelOrder): void {
  run.callOff = { cause: 'requested', reason };
}

/** Cancels the order when it is not paid in time. */
async function withinOrderTimeout<T>(run: Run, work: () => Promise<T>): Promise<T> {
  const timer = new CancellationScope();
  const timedOut = timer.run(async () => {
    await sleep(orderTimeout);
    run.callOff ??= { cause: 'timed-out', reason: 'the order was not decided in time' };
  });
  timedOut.catch(() => undefined);
  try {
    return await work();
  } finally {
    timer.cancel();
  }
}

/** Drives the order from its current status to its decision. */
async function resume(run: Run, order: OrderState, paymentToken?: string): Promise<void> {
  switch (order.status) {
    case 'CONFIRMED':
      decide(run, { kind: 'confirmed', totalAmount: order.totalAmount }, 'CONFIRMED');
      return;
    case 'CANCELLED':
      decide(run, { kind: 'cancelled', ...order.cancellation! }, 'CANCELLED');
      return;
    case 'PLACED':
      await pay(run, order, paymentToken);
  }
}

async function pay(run: Run, order: OrderState, paymentToken?: string): Promise<void> {
  const { orderId } = run;
  const { totalAmount } = order;
  proceed(run, { status: 'PLACED', step: 'charge' });
  const charge = await chargeInTime(run, order, paymentToken);
  if (charge.kind === 'captured' && run.callOff === undefined) {
    proceed(run, { status: 'PLACED', step: 'confirm' });
    const status = await confirmOrder(orderId, charge.paymentId);
    if (status === 'CONFIRMED') decide(run, { kind: 'confirmed', totalAmount }, 'CONFIRMED');
    else if (status === 'REFUSED') await compensateUnconfirmable(run);
    else await followCancellation(run);
    return;
  }
  const { callOff } = run;
  const reason = callOff?.reason ?? (charge.kind === 'declined' ? charge.reason : '');
  const cancellation = callOff ?? { cause: 'payment-failed', reason: `payment failed: ${reason}` };
  await compensate(run, cancellation, reason);
}

/** The order's status, or `REFUSED` when PostgreSQL can never store its payment. */
async function confirmOrder(orderId: string, paymentId: string): Promise<OrderStatus | 'REFUSED'> {
  try {
    return await orders.confirmOrder(orderId, paymentId);
  } catch (error) {
    if (!isRefused(error)) throw error;
    return 'REFUSED';
  }
}

async function compensateUnconfirmable(run: Run): Promise<void> {
  const reason = 'the payment could not be recorded';
  const cancellation = { cause: 'payment-failed', reason: `payment failed: ${reason}` } as const;
  await compensate(run, run.callOff ?? cancellation, reason);
}

/** Whether an activity has failed for good, in an order whose run knows what to do about it. */
function isRefused(error: unknown): boolean {
  // Orders started by an earlier version keep their old path: their run fails.
  return !isCancellation(error) && isFinal(error) && patched('refund-unconfirmable');
}

/** The charge's outcome; a charge that times out or is cancelled is abandoned. */
async function chargeInTime(
  run: Run,
  { totalAmount: amount }: OrderState,
  paymentToken?: string,
): Promise<ChargeOutcome> {
  const charge = { orderId: run.orderId, amount };
  const scope = new CancellationScope();
  try {
    const outcome = await scope.run(() => {
      const charged =
        paymentToken === undefined
          ? findEarlierCharge(charge)
          : chargeOrder({ ...charge, paymentToken });
      const givenUp = condition(() => run.callOff !== undefined, paymentTimeout);
      return Promise.race([charged, givenUp.then(() => undefined)]);
    });
    if (outcome !== undefined) return outcome;
    if (run.callOff !== undefined) return { kind: 'declined', reason: run.callOff.reason };
    return await findLateCharge(charge);
  } catch (error) {
    if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
    // The reason is in the history; shoppers do not get it.
    return { kind: 'declined', reason: 'the payment gateway could not take the payment' };
  } finally {
    scope.cancel();
  }
}

async function chargeOrder(charge: OrderCharge | EarlierLookup): Promise<ChargeOutcome> {
  // Orders started by an earlier version keep their old path.
  if (!patched('charge-within-task')) return charging.chargeOrder(charge);
  try {
    return await chargingAtOnce.chargeOrder(charge);
  } catch (error) {
    if (isCancellation(error)) throw error;
    // The next attempt resolves the outcome of this one, as an ordinary activity, visible in the Web
    // UI.
    return charging.chargeOrder(charge);
  }
}

/** Without a token, an order can only have been charged by an earlier run. */
async function findEarlierCharge(charge: EarlierLookup): Promise<ChargeOutcome> {
  if (!readsAlone()) return chargeOrder(charge);
  const { orderId } = charge;
  const paymentId = await chargingAtOnce.findCharge(orderId).catch((error: unknown) => {
    if (isCancellation(error)) throw error;
    return charging.findCharge(orderId);
  });
  return toOutcome(paymentId, 'there is no charge and no way to make one');
}

/**
 * The last lookup before a charge is abandoned: a worker that died with the gateway's response must not
 * cost the shopper the order.
 */
async function findLateCharge(charge: EarlierLookup): Promise<ChargeOutcome> {
  const reason = 'the payment gateway did not answer in time';
  if (readsAlone()) {
    try {
      return toOutcome(await lastLook.findCharge(charge.orderId), reason);
    } catch (error) {
      if (!isUnknownActivity(error)) throw error;
    }
  }
  const found = await lastLook.chargeOrder(charge);
  return found.kind === 'captured' ? found : { kind: 'declined', reason };
}

/**
 * Whether the worker did not know the activity. The queues for what waits have no versions, so during a
 * deploy a worker of the version before may take an activity of this one.
 */
function isUnknownActivity(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof ApplicationFailure &&
    error.cause.type === 'NotFoundError'
  );
}

function toOutcome(paymentId: string | null, reason: string): ChargeOutcome {
  return paymentId === null ? { kind: 'declined', reason } : { kind: 'captured', paymentId };
}

/**
 * Another run of this order, started while this one's worker was frozen or its history lost, has
 * cancelled the order: that decision is final, and no money may be held.
 */
async function followCancellation(run: Run): Promise<void> {
  proceed(run, { ...run.progress, step: 'compensate' });
  await compensation.voidPayment(run.orderId);
  const order = await findOrder(run.orderId);
  if (order.kind === 'order') await resume(run, order);
  else decide(run, order, 'REFUSED');
}

/** In reverse: the money first, then the stock and the order. Each has unlimited retries. */
async function compensate(run: Run, cancellation: Cancellation, reason: string): Promise<void> {
  proceed(run, { ...run.progress, step: 'compensate' });
  const paymentId = await compensation.voidPayment(run.orderId);
  const status = paymentId === null ? 'failed' : 'refunded';
  const payment = { status, reason, paymentId } as const;
  const stored = await cancelOrder(run.orderId, cancellation, payment);
  // In histories of earlier versions the activity returned nothing.
  decide(run, { kind: 'cancelled', ...cancellation, ...stored }, 'CANCELLED');
}

/** A charge whose ID cannot be stored is refunded by now: the order is cancelled without that ID. */
async function cancelOrder(
  orderId: string,
  cancellation: Cancellation,
  payment: CancelledPayment,
): Promise<Cancellation> {
  try {
    return await orders.cancelOrder(orderId, cancellation, payment);
  } catch (error) {
    if (payment.paymentId === null || !isRefused(error)) throw error;
    return orders.cancelOrder(orderId, cancellation, { ...payment, paymentId: null });
  }
}

/** Updates the progress, for the query and the Web UI. */
function proceed(run: Run, progress: OrderProgress): void {
  run.progress = progress;
  setCurrentDetails(`${progress.status}: ${stepDetails[progress.step]}${callOffOf(run)}`);
}

const stepDetails: Readonly<Record<OrderProgress['step'], string>> = {
  reserve: 'the stock is being reserved.',
  charge: 'the stock is reserved; the payment is under way.',
  confirm: 'paid; being confirmed.',
  compensate: 'compensating: refunding the payment, releasing the stock.',
  publish: 'decided; its events are being published.',
  done: 'decided; its events are published.',
};

function callOffOf({ callOff, outcome }: Run): string {
  const reason = outcome?.kind === 'cancelled' ? outcome.reason : callOff?.reason;
  return reason === undefined ? '' : ` Cancellation: ${reason}.`;
}

function decide(run: Run, outcome: OrderOutcome, status: OrderProgress['status']): void {
  run.outcome = outcome;
  proceed(run, { status, step: 'publish' });
  upsertSearchAttributes([{ key: searchAttributes.orderStatus, value: status }]);
}

/**
 * Publishes the order's events. A confirmed order can be cancelled meanwhile, even while Kafka is
 * unavailable; then those events are published, too.
 */
async function publishAndAwaitCancellation(run: Run, order: OrderState): Promise<void> {
  const aggregates = aggregatesOf(run.orderId, order);
  for (;;) {
    const publishing = publication.publishOutbox(aggregates);
    let published = false;
    const marked = publishing.then(() => {
      published = true;
    });
    await condition(() => published || isCancellable(run));
    if (!isCancellable(run)) return marked;
    const { callOff } = run;
    await compensate(run, callOff!, callOff!.reason);
    await marked;
  }
}

// The timeout is for unpaid orders: one that turns out to be confirmed stays so.
function isCancellable(run: Run): boolean {
  if (run.outcome?.kind !== 'confirmed' || run.callOff === undefined) return false;
  // Orders started by an earlier version keep their old path.
  return isRequested(run) || !patched('time-out-only-unpaid');
}

function isRequested({ callOff }: Run): boolean {
  return callOff?.cause === 'requested';
}

function aggregatesOf(orderId: string, { productIds }: OrderState): Aggregate[] {
  return [
    { topic: 'order-events', key: orderId },
    ...productIds.map((key) => ({ topic: 'catalog-events' as const, key })),
  ];
}
