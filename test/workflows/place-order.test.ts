import { activityInfo } from '@temporalio/activity';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { createOrderActivities, OrderState } from '../../activities/commerce/orders';
import type { createPaymentActivities } from '../../activities/commerce/payments';
import type { createPublishActivities } from '../../activities/commerce/publish';
import { createCommands } from '../../api/commands/temporal-commands';
import type { Cancellation, OrderOutcome, OrderStatus, PlaceOrder } from '../../events/orders';
import { workflowIds } from '../../events/workflow-ids';
import {
  cancelUpdate,
  decisionUpdate,
  orderStateQuery,
  taskQueues,
  workflowTypes,
} from '../../events/workflow-names';
import type { OrderProgress } from '../../workflows/commerce/place-order';
import { until } from '../../testkit/until';
import { createEnvironment, outageOf, type Environment } from '../../testkit/workflow-environment';

type Activities = ReturnType<typeof createOrderActivities> &
  ReturnType<typeof createPaymentActivities> &
  Pick<ReturnType<typeof createPublishActivities>, 'publishOutbox'>;

type Outage = Awaited<ReturnType<typeof outageOf>>;

const minuteMs = 60_000;
const totalAmount = 900;
const paymentId = 'payment-1';
const confirmed: OrderOutcome = { kind: 'confirmed', totalAmount };
const timedOut: OrderOutcome = {
  kind: 'cancelled',
  cause: 'timed-out',
  reason: 'the order was not decided in time',
};
let environment: Environment;

beforeAll(async () => {
  environment = await createEnvironment();
});

afterAll(() => environment?.stop());

// What is left of a test that cancels activities can keep the server from skipping time in the next.
beforeEach(async () => {
  if (await environment.isAsNew()) return;
  await environment.stop();
  environment = await createEnvironment();
});

/** What a shop and its gateway have of one order. */
interface Shop {
  status?: OrderStatus;
  cancellation: Cancellation | null;
  /** Units that the order holds. */
  reserved: number;
  /** What the gateway holds. */
  money: number;
  /** Set once the gateway will take nothing for the order any more. */
  voided: boolean;
  /** The activities that have had an effect, in order. */
  readonly done: string[];
  readonly activities: Activities;
}

/** A shop and a gateway in which everything works. */
function createShop(): Shop {
  const shop: Shop = {
    cancellation: null,
    reserved: 0,
    money: 0,
    voided: false,
    done: [],
    activities: {
      async reserveStock() {
        if (shop.status !== undefined) return toState(shop);
        Object.assign(shop, { status: 'PLACED', reserved: 1 });
        shop.done.push('reserve');
        return toState(shop);
      },
      async findOrder() {
        return shop.status === undefined ? { kind: 'unknown-order' } : toState(shop);
      },
      async chargeOrder() {
        if (shop.money > 0) return { kind: 'captured', paymentId };
        if (shop.voided) return { kind: 'declined', reason: 'void' };
        shop.money = totalAmount;
        shop.done.push('charge');
        return { kind: 'captured', paymentId };
      },
      async findCharge() {
        return shop.money > 0 ? paymentId : null;
      },
      async confirmOrder() {
        if (shop.status !== 'PLACED') return shop.status!;
        shop.status = 'CONFIRMED';
        shop.done.push('confirm');
        return shop.status;
      },
      async voidPayment() {
        const held = shop.money > 0;
        Object.assign(shop, { money: 0, voided: true });
        shop.done.push('void');
        return held ? paymentId : null;
      },
      async cancelOrder(_orderId, cancellation) {
        if (shop.status === 'CANCELLED') return shop.cancellation!;
        Object.assign(shop, { status: 'CANCELLED', cancellation, reserved: 0 });
        shop.done.push('cancel');
        return cancellation;
      },
      async publishOutbox() {
        shop.done.push('publish');
      },
    },
  };
  return shop;
}

function toState({ status, cancellation }: Shop): OrderState {
  return {
    kind: 'order',
    status: status!,
    totalAmount,
    productIds: ['product-1'],
    cancellation,
  };
}

/** Has something happen, or fail, each time before an activity does its work. */
function before(shop: Shop, name: keyof Activities, step: () => Promise<unknown>): void {
  const activity = shop.activities[name] as (...input: unknown[]) => Promise<unknown>;
  const replaced = async (...input: unknown[]): Promise<unknown> => {
    await step();
    return activity(...input);
  };
  Object.assign(shop.activities, { [name]: replaced });
}

/** A gate that activities can be held at, and that tells when one has come to it. */
function createGate(): { pass(): Promise<void>; readonly reached: Promise<void>; open(): void } {
  let arrive = (): void => undefined;
  let open = (): void => undefined;
  const reached = new Promise<void>((resolve) => (arrive = resolve));
  const opened = new Promise<void>((resolve) => (open = resolve));
  return {
    pass: () => {
      arrive();
      return opened;
    },
    reached,
    open: () => open(),
  };
}

const request = {
  userId: 'user-1',
  items: [{ productId: 'product-1', quantity: 1 }],
  paymentToken: 'tok_approve',
};

/** Sends an update to the order's workflow, which it starts if none is running, as the API does. */
function send(update: string, command: PlaceOrder, ...args: object[]): Promise<OrderOutcome> {
  type Start = (command: PlaceOrder) => Promise<OrderOutcome>;
  return environment.client.workflow.executeUpdateWithStart<Start, OrderOutcome, object[]>(update, {
    args,
    startWorkflowOperation: new WithStartWorkflowOperation<Start>(workflowTypes.placeOrder, {
      workflowId: workflowIds.placeOrder(command.orderId),
      taskQueue: taskQueues.commerce,
      args: [command],
      workflowIdConflictPolicy: 'USE_EXISTING',
    }),
  });
}

function place(orderId: string): Promise<OrderOutcome> {
  return send(decisionUpdate, { orderId, request });
}

/** Starts it without waiting for its decision, which may be hours of the server's time away. */
async function begin(orderId: string): Promise<void> {
  await environment.client.workflow.start(workflowTypes.placeOrder, {
    workflowId: workflowIds.placeOrder(orderId),
    taskQueue: taskQueues.commerce,
    args: [{ orderId, request }],
  });
}

function cancel(orderId: string, reason = 'changed my mind'): Promise<OrderOutcome> {
  return send(cancelUpdate, { orderId }, { reason });
}

function requested(reason = 'changed my mind'): OrderOutcome {
  return { kind: 'cancelled', cause: 'requested', reason };
}

function handleOf(orderId: string) {
  return environment.client.workflow.getHandle(workflowIds.placeOrder(orderId));
}

/** How the run ends. While this is awaited, the server's time is skipped. */
async function resultOf(orderId: string): Promise<OrderOutcome> {
  await until('the order has a workflow', () => handleOf(orderId).describe());
  return handleOf(orderId).result() as Promise<OrderOutcome>;
}

function stateOf(orderId: string): Promise<OrderProgress> {
  return handleOf(orderId).query<OrderProgress>(orderStateQuery);
}

function activitiesOf(orderId: string): Promise<string[]> {
  return environment.ordinaryActivitiesOf(workflowIds.placeOrder(orderId));
}

function untilOrdinary(orderId: string, activity: string): Promise<unknown> {
  return until(`${activity} is an ordinary activity`, async () =>
    (await activitiesOf(orderId)).includes(activity),
  );
}

/** The workflow knows that it is to be cancelled: what it does from now on must heed it. */
function untilCancelling(orderId: string): Promise<unknown> {
  return until('the cancellation is accepted', async () => {
    const { events } = await handleOf(orderId).fetchHistory();
    return events?.some(
      ({ workflowExecutionUpdateAcceptedEventAttributes: accepted }) =>
        accepted?.acceptedRequest?.input?.name === cancelUpdate,
    );
  });
}

function working<T>(shop: Shop, work: () => Promise<T>): Promise<T> {
  return environment.withWorker(taskQueues.commerce, shop.activities, work);
}

/** What a shop and a gateway must look like when an order has been called off. */
const nothingHeld = { status: 'CANCELLED', reserved: 0, money: 0 };

async function away(): Promise<never> {
  throw new Error('away');
}

describe('an order that cannot be paid within five minutes', () => {
  test('since its stock cannot be reserved is cancelled once it is, and never charged', async () => {
    const orderId = 'unreservable';
    const shop = createShop();
    const database = await outageOf(environment, 6 * minuteMs);
    before(shop, 'reserveStock', database.fail);
    await working(shop, async () => {
      const startedAt = await environment.currentTimeMs();
      await begin(orderId);
      await untilOrdinary(orderId, 'reserveStock');
      expect(await resultOf(orderId)).toEqual(timedOut);
      expect(await environment.currentTimeMs()).toBeGreaterThanOrEqual(startedAt + 5 * minuteMs);
    });
    expect(shop).toMatchObject({ ...nothingHeld, cancellation: { cause: 'timed-out' } });
    expect(shop.done).toEqual(['reserve', 'void', 'cancel', 'publish']);
    expect(await activitiesOf(orderId)).not.toContain('chargeOrder');
  });

  test('but is being paid in that moment gets its money back', async () => {
    const orderId = 'nearly-paid';
    const shop = createShop();
    let paysFrom: number | undefined;
    before(shop, 'reserveStock', async () => {
      const now = await environment.currentTimeMs();
      paysFrom ??= now + 5 * minuteMs - 3_000;
      const nextRetryDelay = paysFrom - now;
      if (activityInfo().isLocal) await away();
      if (nextRetryDelay > 0) throw ApplicationFailure.create({ nextRetryDelay });
    });
    before(shop, 'chargeOrder', () => {
      shop.money = totalAmount;
      return away();
    });
    await working(shop, async () => {
      await begin(orderId);
      await untilOrdinary(orderId, 'reserveStock');
      expect(await resultOf(orderId)).toEqual(timedOut);
    });
    expect(await activitiesOf(orderId)).toContain('chargeOrder');
    expect(shop).toMatchObject(nothingHeld);
    expect(shop.done).toEqual(['reserve', 'void', 'cancel', 'publish']);
  });

  test('but is paid by then is confirmed, however late, and stays so until it is cancelled', async () => {
    const orderId = 'late';
    const shop = createShop();
    const database = await outageOf(environment, 20 * minuteMs);
    before(shop, 'confirmOrder', database.fail);
    await working(shop, async () => {
      await begin(orderId);
      await untilOrdinary(orderId, 'confirmOrder');
      expect(await resultOf(orderId)).toEqual(confirmed);
      expect(shop).toMatchObject({ status: 'CONFIRMED', reserved: 1, money: totalAmount });
      expect(await cancel(orderId)).toEqual(requested());
      await resultOf(orderId);
    });
    expect(shop).toMatchObject(nothingHeld);
  });

  test('but had been confirmed before stays so, although asking for it took that long', async () => {
    const orderId = 'asked-again';
    const shop = createShop();
    let database: Outage | undefined;
    before(shop, 'reserveStock', async () => database?.fail());
    await working(shop, async () => {
      expect(await place(orderId)).toEqual(confirmed);
      await resultOf(orderId);
      database = await outageOf(environment, 10 * minuteMs);
      const again = place(orderId);
      await untilOrdinary(orderId, 'reserveStock');
      expect(await resultOf(orderId)).toEqual(confirmed);
      expect(await again).toEqual(confirmed);
    });
    expect(shop).toMatchObject({ status: 'CONFIRMED', reserved: 1, money: totalAmount });
  });

  test('but is cancelled on request after that is cancelled for the request', async () => {
    const orderId = 'requested-late';
    const shop = createShop();
    const database = await outageOf(environment, 20 * minuteMs);
    before(shop, 'confirmOrder', async () => {
      const over = (await environment.currentTimeMs()) > endOfTimeout;
      if (over) cancelling ??= cancel(orderId);
      await database.fail();
    });
    const endOfTimeout = (await environment.currentTimeMs()) + 10 * minuteMs;
    let cancelling: Promise<OrderOutcome> | undefined;
    await working(shop, async () => {
      await begin(orderId);
      await untilOrdinary(orderId, 'confirmOrder');
      expect(await resultOf(orderId)).toEqual(requested());
      expect(await cancelling).toEqual(requested());
    });
    expect(shop).toMatchObject(nothingHeld);
  });
});

describe('a gateway that does not answer in time', () => {
  test('costs the order, when it holds no money for it', async () => {
    const orderId = 'silent';
    const shop = createShop();
    before(shop, 'chargeOrder', away);
    await working(shop, async () => {
      const decision = place(orderId);
      await resultOf(orderId);
      expect(await decision).toMatchObject({ kind: 'cancelled', cause: 'payment-failed' });
    });
    expect(shop).toMatchObject({ ...nothingHeld, voided: true });
  });

  test('costs nothing, when the last look finds the payment', async () => {
    const orderId = 'found';
    const shop = createShop();
    shop.activities.chargeOrder = async () => {
      shop.money = totalAmount;
      return away();
    };
    await working(shop, async () => {
      const decision = place(orderId);
      expect(await resultOf(orderId)).toEqual(confirmed);
      expect(await decision).toEqual(confirmed);
    });
    expect(shop).toMatchObject({ status: 'CONFIRMED', money: totalAmount });
  });

  test('costs nothing either, when a worker of the version before gets the last look', async () => {
    const orderId = 'found-by-the-version-before';
    const shop = createShop();
    shop.activities.chargeOrder = async ({ paymentToken }) => {
      if (paymentToken === undefined) return { kind: 'captured', paymentId };
      shop.money = totalAmount;
      return away();
    };
    const { findCharge: _, ...activities } = shop.activities;
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      const decision = place(orderId);
      expect(await resultOf(orderId)).toEqual(confirmed);
      expect(await decision).toEqual(confirmed);
    });
    expect(shop).toMatchObject({ status: 'CONFIRMED', money: totalAmount });
    expect(await activitiesOf(orderId)).toContain('findCharge');
  });
});

describe('the state that an order reports', () => {
  test('is that of each step', async () => {
    const orderId = 'observed';
    const shop = createShop();
    let awayAt: keyof Activities | undefined = 'reserveStock';
    const seen: OrderProgress[] = [];
    for (const name of ['reserveStock', 'confirmOrder'] as const) {
      before(shop, name, async () => {
        if (awayAt === name) await away();
      });
    }
    for (const name of ['chargeOrder', 'publishOutbox', 'voidPayment'] as const) {
      before(shop, name, async () => {
        // A question cannot be answered while the workflow's own task waits for this try.
        if (activityInfo().isLocal) throw new Error('away');
        seen.push(await stateOf(orderId));
      });
    }
    await working(shop, async () => {
      const decision = place(orderId);
      await untilOrdinary(orderId, 'reserveStock');
      seen.push(await stateOf(orderId));
      awayAt = 'confirmOrder';
      const result = resultOf(orderId);
      await untilOrdinary(orderId, 'confirmOrder');
      seen.push(await stateOf(orderId));
      awayAt = undefined;
      expect(await decision).toEqual(confirmed);
      await result;
      seen.push(await stateOf(orderId));
      await cancel(orderId);
      await resultOf(orderId);
      seen.push(await stateOf(orderId));
    });
    expect(seen).toEqual([
      { status: 'RESERVING', step: 'reserve' },
      { status: 'PLACED', step: 'charge' },
      { status: 'PLACED', step: 'confirm' },
      { status: 'CONFIRMED', step: 'publish' },
      { status: 'CONFIRMED', step: 'done' },
      // The run that cancels it publishes meanwhile, if anything is left to publish.
      { status: 'CONFIRMED', step: 'compensate' },
      { status: 'CONFIRMED', step: 'compensate' },
      { status: 'CANCELLED', step: 'publish' },
      { status: 'CANCELLED', step: 'done' },
    ]);
  });

  test('is that it was refused, when nothing was placed', async () => {
    const orderId = 'refused';
    const shop = createShop();
    const outOfStock = { kind: 'out-of-stock', productId: 'product-1', stock: 0 } as const;
    shop.activities.reserveStock = async () => outOfStock;
    shop.activities.findOrder = async () => outOfStock;
    await working(shop, async () => {
      expect(await place(orderId)).toEqual(outOfStock);
      expect(await cancel(orderId)).toEqual(outOfStock);
      await resultOf(orderId);
      expect(await stateOf(orderId)).toEqual({ status: 'REFUSED', step: 'done' });
    });
    expect(shop.done).toEqual([]);
  });
});

test('an order that another run has cancelled meanwhile keeps that decision, and no money', async () => {
  const orderId = 'followed';
  const shop = createShop();
  const other = { cause: 'requested', reason: 'said to another run' } as const;
  before(shop, 'confirmOrder', async () => {
    Object.assign(shop, { status: 'CANCELLED', cancellation: other, reserved: 0 });
  });
  let state: OrderProgress | undefined;
  before(shop, 'voidPayment', async () => {
    state = await stateOf(orderId);
  });
  await working(shop, async () => {
    expect(await place(orderId)).toEqual({ kind: 'cancelled', ...other });
    expect(await cancel(orderId, 'too late')).toEqual({ kind: 'cancelled', ...other });
    await resultOf(orderId);
  });
  expect(state).toEqual({ status: 'PLACED', step: 'compensate' });
  expect(shop).toMatchObject({ ...nothingHeld, voided: true });
  expect(shop.done.filter((step) => step !== 'publish')).toEqual(['reserve', 'charge', 'void']);
});

describe('an order whose payment PostgreSQL can never store', () => {
  const refuse = async (): Promise<never> => {
    throw ApplicationFailure.nonRetryable('a NUL', 'DATA_REFUSED');
  };
  const unrecorded: OrderOutcome = {
    kind: 'cancelled',
    cause: 'payment-failed',
    reason: 'payment failed: the payment could not be recorded',
  };

  test('is cancelled, and its money is given back', async () => {
    const orderId = 'unconfirmable';
    const shop = createShop();
    before(shop, 'confirmOrder', refuse);
    await working(shop, async () => {
      const decision = place(orderId);
      expect(await resultOf(orderId)).toEqual(unrecorded);
      expect(await decision).toEqual(unrecorded);
    });
    expect(shop).toMatchObject({ ...nothingHeld, voided: true });
    expect(shop.done.filter((step) => step !== 'publish')).toEqual([
      ...['reserve', 'charge'],
      ...['void', 'cancel'],
    ]);
  });

  test('since the ID of its charge is at fault is cancelled without that ID', async () => {
    const orderId = 'unstorable';
    const shop = createShop();
    const { cancelOrder } = shop.activities;
    const stored: (string | null)[] = [];
    before(shop, 'confirmOrder', refuse);
    shop.activities.cancelOrder = async (id, cancellation, payment) => {
      if (payment.paymentId !== null) return refuse();
      stored.push(payment.paymentId);
      return cancelOrder(id, cancellation, payment);
    };
    await working(shop, async () => {
      const decision = place(orderId);
      expect(await resultOf(orderId)).toEqual(unrecorded);
      expect(await decision).toEqual(unrecorded);
    });
    expect(shop).toMatchObject(nothingHeld);
    expect(stored).toEqual([null]);
  });
});

test('an order that another run cancels while this one does has one reason', async () => {
  const orderId = 'cancelled-by-two';
  const shop = createShop();
  const other = { cause: 'requested', reason: 'said to another run' } as const;
  before(shop, 'cancelOrder', async () => {
    Object.assign(shop, { status: 'CANCELLED', cancellation: other, reserved: 0 });
  });
  await working(shop, async () => {
    await place(orderId);
    expect(await cancel(orderId, 'said to this run')).toEqual({ kind: 'cancelled', ...other });
    await resultOf(orderId);
  });
});

test('a compensation that fails for an hour is tried on, visibly, and then succeeds', async () => {
  const orderId = 'uncompensated';
  const shop = createShop();
  shop.activities.chargeOrder = async () => ({ kind: 'declined', reason: 'no money' });
  const startedAt = await environment.currentTimeMs();
  const gateway = await outageOf(environment, 60 * minuteMs);
  const seen: object[] = [];
  before(shop, 'voidPayment', async () => {
    const trying = gateway.fail();
    trying.catch(() => undefined);
    if (gateway.tries() % 60 === 0) seen.push(await look());
    await trying;
  });
  const look = async () => {
    const { raw } = await handleOf(orderId).describe();
    const [pending] = raw.pendingActivities ?? [];
    const { activityType, attempt } = pending ?? {};
    return { activity: activityType?.name, attempt, state: await stateOf(orderId) };
  };
  await working(shop, async () => {
    await begin(orderId);
    const result = await resultOf(orderId);
    expect(result).toMatchObject({ kind: 'cancelled', cause: 'payment-failed' });
    expect(await environment.currentTimeMs()).toBeGreaterThanOrEqual(startedAt + 60 * minuteMs);
  });
  expect(gateway.tries()).toBeGreaterThan(300);
  expect(seen).toEqual(
    Array.from({ length: Math.floor(gateway.tries() / 60) }, (_, index) => ({
      activity: 'voidPayment',
      attempt: 60 * (index + 1),
      state: { status: 'PLACED', step: 'compensate' },
    })),
  );
  expect(shop).toMatchObject(nothingHeld);
  expect(shop.done).toEqual(['reserve', 'void', 'cancel', 'publish']);
});

describe('cancelling', () => {
  test('while the stock is being reserved: it is never charged', async () => {
    const orderId = 'before';
    const shop = createShop();
    let awayStill = true;
    before(shop, 'reserveStock', async () => {
      if (awayStill) await away();
    });
    await working(shop, async () => {
      const decision = place(orderId);
      await untilOrdinary(orderId, 'reserveStock');
      const cancelling = cancel(orderId);
      await untilCancelling(orderId);
      awayStill = false;
      await resultOf(orderId);
      expect(await Promise.all([decision, cancelling])).toEqual([requested(), requested()]);
    });
    expect(shop).toMatchObject(nothingHeld);
    expect(shop.done).toEqual(['reserve', 'void', 'cancel', 'publish']);
  });

  test('while the payment is under way: it is given up, and what it took is given back', async () => {
    const orderId = 'during';
    const shop = createShop();
    const charging = createGate();
    before(shop, 'chargeOrder', async () => {
      shop.money = totalAmount;
      await charging.pass();
    });
    await working(shop, async () => {
      const decision = place(orderId);
      await charging.reached;
      expect(await cancel(orderId)).toEqual(requested());
      expect(await decision).toEqual(requested());
      charging.open();
      await resultOf(orderId);
    });
    expect(shop).toMatchObject(nothingHeld);
    expect(shop.done.filter((step) => step !== 'publish')).toEqual(['reserve', 'void', 'cancel']);
  });

  test('while it is being confirmed: it is confirmed, and then cancelled', async () => {
    const orderId = 'confirming';
    const shop = createShop();
    let awayStill = true;
    before(shop, 'confirmOrder', async () => {
      if (awayStill) await away();
    });
    await working(shop, async () => {
      const decision = place(orderId);
      await untilOrdinary(orderId, 'confirmOrder');
      const cancelling = cancel(orderId);
      await untilCancelling(orderId);
      awayStill = false;
      expect(await resultOf(orderId)).toEqual(requested());
      expect(await Promise.all([decision, cancelling])).toEqual([confirmed, requested()]);
    });
    expect(shop).toMatchObject(nothingHeld);
  });

  test('while it is confirmed and cannot be published: the money is given back at once', async () => {
    const orderId = 'publishing';
    const shop = createShop();
    const kafka = await outageOf(environment, 10 * minuteMs);
    before(shop, 'publishOutbox', kafka.fail);
    await working(shop, async () => {
      expect(await place(orderId)).toEqual(confirmed);
      expect(await cancel(orderId)).toEqual(requested());
      expect(shop).toMatchObject(nothingHeld);
      expect(shop.done).not.toContain('publish');
      expect(await resultOf(orderId)).toEqual(requested());
    });
    expect(shop.done.at(-1)).toBe('publish');
  });

  test('when all is done: another run gives the money and the stock back', async () => {
    const orderId = 'after';
    const shop = createShop();
    await working(shop, async () => {
      await place(orderId);
      await resultOf(orderId);
      expect(await cancel(orderId)).toEqual(requested());
      await resultOf(orderId);
    });
    expect(shop).toMatchObject(nothingHeld);
    expect(shop.done.filter((step) => step !== 'publish')).toEqual([
      ...['reserve', 'charge', 'confirm'],
      ...['void', 'cancel'],
    ]);
    expect(shop.done.at(-1)).toBe('publish');
  });

  test.each([
    ['placed', { status: 'PLACED', money: 0 }],
    ['charged', { status: 'PLACED', money: totalAmount }],
    ['confirmed', { status: 'CONFIRMED', money: totalAmount }],
  ] as const)('that an earlier run has forgotten, of an order that is %s', async (name, before) => {
    const orderId = `forgotten-${name}`;
    const shop = Object.assign(createShop(), before, { reserved: 1 });
    await working(shop, async () => {
      await environment.client.workflow.start(workflowTypes.placeOrder, {
        workflowId: workflowIds.placeOrder(orderId),
        taskQueue: taskQueues.commerce,
        args: [{ orderId, cancellation: { reason: 'changed my mind' } }],
      });
      expect(await resultOf(orderId)).toEqual(requested());
    });
    expect(shop).toMatchObject(nothingHeld);
    expect(shop.done.filter((step) => step !== 'publish')).toEqual(['void', 'cancel']);
  });

  test('twice is cancelling once, at once or later, and each time for the first reason', async () => {
    const orderId = 'twice';
    const shop = createShop();
    const voiding = createGate();
    before(shop, 'voidPayment', voiding.pass);
    await working(shop, async () => {
      await place(orderId);
      await resultOf(orderId);
      const first = cancel(orderId, 'first');
      await voiding.reached;
      const second = cancel(orderId, 'second');
      voiding.open();
      expect(await Promise.all([first, second])).toEqual([requested('first'), requested('first')]);
      await resultOf(orderId);
      expect(await cancel(orderId, 'third')).toEqual(requested('first'));
      await resultOf(orderId);
    });
    expect(shop.done.filter((step) => step === 'void')).toHaveLength(1);
    expect(shop.done.filter((step) => step === 'cancel')).toHaveLength(1);
  });

  test('in the moment in which its events are published is answered, too', async () => {
    const orders = Array.from({ length: 30 }, (_, index) => `meeting-${index}`);
    const shops = new Map(orders.map((orderId) => [orderId, createShop()]));
    const cancelling: Promise<OrderOutcome>[] = [];
    // The API's own commands: an update that meets its workflow's end is not found, and sent again.
    const commands = createCommands(environment.client, { decisionMs: 60_000 });
    const at = (orderId: string): Activities => shops.get(orderId)!.activities;
    const activities: Activities = {
      reserveStock: (orderId, wanted) => at(orderId).reserveStock(orderId, wanted),
      findOrder: (orderId) => at(orderId).findOrder(orderId),
      chargeOrder: (charge) => at(charge.orderId).chargeOrder(charge),
      findCharge: (orderId) => at(orderId).findCharge(orderId),
      confirmOrder: (orderId, payment) => at(orderId).confirmOrder(orderId, payment),
      voidPayment: (orderId) => at(orderId).voidPayment(orderId),
      cancelOrder: (orderId, ...input) => at(orderId).cancelOrder(orderId, ...input),
      async publishOutbox([aggregate]) {
        const orderId = aggregate!.key;
        if (shops.get(orderId)!.status !== 'CONFIRMED') return;
        cancelling.push(commands.cancelOrder(orderId, { reason: 'changed my mind' }));
      },
    };
    await environment.withWorker(taskQueues.commerce, activities, async () => {
      await Promise.all(orders.map(place));
      await until('each is being cancelled', () => cancelling.length === orders.length);
      expect(await Promise.all(cancelling)).toEqual(orders.map(() => requested()));
      // One after the other: the server's time can be skipped for one caller only.
      for (const orderId of orders) await resultOf(orderId);
    });
    for (const shop of shops.values()) expect(shop).toMatchObject(nothingHeld);
  });
});
