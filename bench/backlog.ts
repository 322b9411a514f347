/** A backlog of events of every type, as of a busy shop. */
import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Kafka, Message } from 'kafkajs';
import type { Event } from '../events/envelope';
import { eventTopics, type EventTopic } from '../events/topics';
import { addUp, readAggregates, type Aggregates } from '../testkit/aggregates';
import { foreignEvent, type ForeignEvent } from '../testkit/foreign-producer';
import type { Stack } from '../testkit/stack';

/** Events that are ready to be sent. */
export interface Backlog {
  readonly count: number;
  readonly events: readonly ForeignEvent[];
  /** In one transaction: readers of committed messages see all of it at once, in both topics. */
  send(kafka: Kafka): Promise<void>;
}

const productCount = 500;
const userCount = 2_000;

/**
 * At least so many events: those of an order stay together. Its products are in no other backlog.
 */
export function createBacklog(count: number): Backlog {
  const events: ForeignEvent[] = [];
  const shop = createShop(randomUUID().slice(0, 8));
  while (events.length < count) events.push(...shop.next(events.length));
  const messages = messagesOf(events);
  return { count: events.length, events, send: (kafka) => sendAtOnce(kafka, messages) };
}

/** The events of such a shop one by one, without end. Its products are in no other. */
export function* createEvents(): Generator<ForeignEvent, never> {
  const shop = createShop(randomUUID().slice(0, 8));
  for (let position = 0; ;) {
    const events = shop.next(position);
    yield* events;
    position += events.length;
  }
}

/** @throws when the collector's tables are not what the backlogs add up to */
export async function checkEffects(
  { pool }: Pick<Stack, 'pool'>,
  backlogs: readonly Pick<Backlog, 'events'>[],
): Promise<void> {
  const events = backlogs.flatMap((backlog) => backlog.events) as unknown as Event[];
  compare(addUp(events), await readAggregates(pool));
}

/** A deterministic sequence of events in the shop, apart from the event IDs. */
function createShop(name: string) {
  const stock = Array.from({ length: productCount }, () => ({ version: 0, units: 1_000 }));
  const likes = Array.from({ length: productCount }, () => ({
    version: 0,
    users: new Set<string>(),
  }));
  return {
    next(position: number): ForeignEvent[] {
      // Steps that share no factor with the counts reach every product and user.
      const product = (position * 7) % productCount;
      const productId = `${name}-${product}`;
      const userId = `user-${(position * 13) % userCount}`;
      const kind = position % 20;
      if (kind < 8) return [foreignEvent('ProductViewed', productId, { productId, userId })];
      if (kind < 12) return [changeLike(likes[product]!, productId, userId)];
      if (kind < 16) return [changeStock(stock[product]!, productId)];
      return orderEvents(productId, userId, kind);
    },
  };
}

function changeLike(
  state: { version: number; readonly users: Set<string> },
  productId: string,
  userId: string,
): ForeignEvent {
  const liked = !state.users.has(userId);
  if (liked) state.users.add(userId);
  else state.users.delete(userId);
  state.version += 1;
  const { version, users } = state;
  const data = { productId, userId, liked, likeCount: users.size, version };
  return foreignEvent('LikeChanged', productId, data);
}

function changeStock(state: { version: number; units: number }, productId: string): ForeignEvent {
  const { version, units: previousStock } = state;
  if (version === 0) {
    Object.assign(state, { version: 1 });
    const data = { productId, name: 'a lamp', price: 100, stock: previousStock, version: 1 };
    return foreignEvent('ProductRegistered', productId, data);
  }
  const stock = previousStock === 0 ? 50 : previousStock - 1;
  Object.assign(state, { version: version + 1, units: stock });
  const delta = stock - previousStock;
  const reason = delta > 0 ? 'restock' : 'correction';
  const data = { productId, delta, stock, previousStock, reason, version: version + 1 };
  return foreignEvent('StockAdjusted', productId, data);
}

function orderEvents(productId: string, userId: string, kind: number): ForeignEvent[] {
  const orderId = randomUUID();
  const items = [{ productId, quantity: 2, unitPrice: 100 }];
  const order = { orderId, userId, items };
  const placed = foreignEvent('OrderPlaced', orderId, { ...order, totalAmount: 200 });
  if (kind === 16) {
    return [
      placed,
      foreignEvent('PaymentFailed', orderId, { orderId, amount: 200, reason: 'declined' }),
      cancelled({ ...order, reason: 'payment failed' }, false),
    ];
  }
  const confirmed = [
    placed,
    foreignEvent('PaymentCompleted', orderId, { orderId, paymentId: randomUUID(), amount: 200 }),
    foreignEvent('OrderConfirmed', orderId, { ...order, totalAmount: 200 }),
  ];
  return kind === 17
    ? [...confirmed, cancelled({ ...order, reason: 'changed my mind' }, true)]
    : confirmed;
}

function cancelled(
  order: { readonly orderId: string } & Readonly<Record<string, unknown>>,
  wasConfirmed: boolean,
): ForeignEvent {
  return foreignEvent('OrderCancelled', order.orderId, { ...order, wasConfirmed });
}

/** The events' messages, by their topic. */
export function messagesOf(events: readonly ForeignEvent[]): Map<EventTopic, Message[]> {
  const messages = new Map<EventTopic, Message[]>(eventTopics.map((topic) => [topic, []]));
  for (const event of events) {
    const topic = /^(Order|Payment)/.test(event.type) ? 'order-events' : 'catalog-events';
    messages.get(topic)!.push({ key: event.subject, value: JSON.stringify(event) });
  }
  return messages;
}

const messagesPerRequest = 2_000;

async function sendAtOnce(
  kafka: Kafka,
  messages: ReadonlyMap<EventTopic, readonly Message[]>,
): Promise<void> {
  const producer = kafka.producer({
    transactionalId: `bench-${randomUUID()}`,
    idempotent: true,
    maxInFlightRequests: 1,
    transactionTimeout: 600_000,
  });
  await producer.connect();
  try {
    const transaction = await producer.transaction();
    for (const [topic, all] of messages) {
      for (let from = 0; from < all.length; from += messagesPerRequest) {
        const some = all.slice(from, from + messagesPerRequest);
        await transaction.send({ topic, messages: some, acks: -1 });
      }
    }
    await transaction.commit();
  } finally {
    await producer.disconnect();
  }
}

function compare(expected: Aggregates, actual: Aggregates): void {
  for (const [table, rows] of Object.entries(expected)) {
    const found = actual[table as keyof Aggregates];
    const wrong = rows.findIndex((row, index) => !isDeepStrictEqual(row, found[index]));
    if (wrong < 0 && found.length === rows.length) continue;
    throw new Error(
      `${table} is not what the events add up to: ${found.length} rows of ${rows.length}; ` +
        `${JSON.stringify(found[wrong])} instead of ${JSON.stringify(rows[wrong])}`,
    );
  }
}
