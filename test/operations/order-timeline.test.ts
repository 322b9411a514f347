import { orderEventId, orderStockEventId, type OrderEventType } from '../../events/orders';
import { stepsOf, type OrderEvent, type PaymentInBooks } from '../../operations/order-timeline';

const order = {
  orderId: 'o1',
  reason: 'changed my mind',
  items: ['cup', 'pot'].map((productId) => ({ productId, quantity: 1, unitPrice: 500 })),
};

function written(eventId: string, second: number): OrderEvent {
  const writtenAt = `2026-11-28T10:00:0${second}.000Z`;
  const unpublished = { publishedAt: null, partition: null, offset: null };
  const unhandled = { handledAt: null, handledBy: null };
  return { eventId, type: 'x', topic: 'order-events', writtenAt, ...unpublished, ...unhandled };
}

const event = (type: OrderEventType, second: number) => written(orderEventId('o1', type), second);

const stock = (step: 'reserve' | 'release', second: number) =>
  order.items.map(({ productId }) => written(orderStockEventId('o1', step, productId), second));

const placed = [event('OrderPlaced', 1), ...stock('reserve', 1)];
const paid = [event('PaymentCompleted', 2), event('OrderConfirmed', 2)];
const givenBack = [event('OrderCancelled', 4), ...stock('release', 4)];

function payment(status: PaymentInBooks['status'], reason: string | null = null): PaymentInBooks {
  const times = { createdAt: '2026-11-28T10:00:02.000Z', updatedAt: '2026-11-28T10:00:04.000Z' };
  return { status, amount: 1_000, paymentId: null, reason, ...times };
}

const named = (books: PaymentInBooks | null, events: OrderEvent[]) =>
  stepsOf(order, books, events).map(({ step, at }) => `${step} ${at.slice(17, 19)}`);

test.each<[what: string, books: PaymentInBooks | null, events: OrderEvent[], steps: string[]]>([
  ['undecided', null, placed, ['reserved 01']],
  [
    'confirmed',
    payment('captured'),
    [...placed, ...paid],
    ['reserved 01', 'charged 02', 'confirmed 02'],
  ],
  [
    'declined',
    payment('failed', 'declined'),
    [...placed, event('PaymentFailed', 4), ...givenBack],
    ['reserved 01', 'payment-failed 04', 'released 04', 'cancelled 04'],
  ],
  [
    'cancelled after it was confirmed',
    payment('refunded'),
    [...placed, ...paid, ...givenBack],
    ['reserved 01', 'charged 02', 'confirmed 02', 'refunded 04', 'released 04', 'cancelled 04'],
  ],
])('an order that is %s has its steps, each at the time of its change', (_what, ...given) => {
  const [books, events, steps] = given;
  expect(named(books, events)).toEqual(steps);
});

test('a step names its events and its reason, and only what was written', () => {
  const events = [...placed.slice(0, 2), event('PaymentFailed', 4), ...givenBack];
  const steps = stepsOf(order, payment('failed', 'declined'), events);
  expect(steps[0]!.eventIds).toEqual(placed.slice(0, 2).map(({ eventId }) => eventId));
  expect(steps.map(({ reason }) => reason)).toEqual([null, 'declined', null, 'changed my mind']);
});
