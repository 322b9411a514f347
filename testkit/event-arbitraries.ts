/** Arbitrary valid events of every type, for properties of all of them. */
import fc from 'fast-check';
import { createEvent, type Event } from '../events/envelope';
import { eventDefinitions, type EventData, type EventType } from '../events/schemas';
import { isReservedEventId } from '../events/reserved-event-ids';

export const eventTypes = Object.keys(eventDefinitions) as EventType[];

const aggregateIds = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

/** IDs of events: opaque, none of them reserved. */
const eventIds = fc.stringMatching(/^[\x21-\x7e]{1,128}$/).filter((id) => !isReservedEventId(id));

/** Instants that the envelope can represent. */
export const times = fc.date({
  min: new Date('0001-01-01T00:00:00.000Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});

/** Text that PostgreSQL can store: any characters but NUL. */
const texts = fc.string({ unit: 'binary', maxLength: 50 }).map((text) => text.replaceAll('\0', ''));

const amounts = fc.maxSafeNat();
const versions = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const items = fc.array(
  fc.record({ productId: aggregateIds, quantity: versions, unitPrice: amounts }),
  { minLength: 1, maxLength: 5 },
);
const placedOrders = fc.record({
  orderId: aggregateIds,
  userId: aggregateIds,
  items,
  totalAmount: amounts,
});

const nonEmptyTexts = texts.filter((text) => text !== '');

export const eventData: { readonly [T in EventType]: fc.Arbitrary<EventData<T>> } = {
  ProductRegistered: fc.record({
    productId: aggregateIds,
    name: nonEmptyTexts,
    price: amounts,
    stock: amounts,
    version: versions,
  }),
  StockAdjusted: fc.record(
    {
      productId: aggregateIds,
      delta: fc.maxSafeInteger(),
      stock: amounts,
      previousStock: amounts,
      reason: fc.constantFrom('restock', 'correction', 'order', 'order-cancelled'),
      orderId: aggregateIds,
      version: versions,
    },
    { requiredKeys: ['productId', 'delta', 'stock', 'previousStock', 'reason', 'version'] },
  ),
  LikeChanged: fc.record({
    productId: aggregateIds,
    userId: aggregateIds,
    liked: fc.boolean(),
    likeCount: amounts,
    version: versions,
  }),
  ProductViewed: fc.record(
    { productId: aggregateIds, userId: aggregateIds },
    { requiredKeys: ['productId'] },
  ),
  OrderPlaced: placedOrders,
  PaymentCompleted: fc.record({ orderId: aggregateIds, paymentId: nonEmptyTexts, amount: amounts }),
  PaymentFailed: fc.record({ orderId: aggregateIds, amount: amounts, reason: texts }),
  OrderConfirmed: placedOrders,
  OrderCancelled: fc.record({
    orderId: aggregateIds,
    userId: aggregateIds,
    items,
    reason: texts,
    wasConfirmed: fc.boolean(),
  }),
};

export function eventsOf(type: EventType): fc.Arbitrary<Event> {
  const data: fc.Arbitrary<EventData<EventType>> = eventData[type];
  return fc
    .record({ id: eventIds, time: times, data })
    .map((made) => createEvent({ type, ...made }) as Event);
}

export const events: fc.Arbitrary<Event> = fc.oneof(...eventTypes.map(eventsOf));
