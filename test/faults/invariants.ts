/**
 * The invariants after a fault, checked from outside the code under test: by plain SQL, a plain
 * read of both topics, the payment gateway's own books, and the ledger of what clients were told.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Event } from '../../events/envelope';
import { addUp, readAggregates, type Aggregates } from '../../testkit/aggregates';
import type { Stack } from '../../testkit/stack';
import type { TopicMessage } from '../../testkit/topic-reader';
import type { WebhookReceiver } from '../../testkit/webhook-receiver';
import { readCharges } from './gateway-books';
import type { Ledger } from './ledger';
import { readLog } from './log-reader';
import type { PoisonCounts } from './poison';

/** The data that the invariants check, read once. */
export interface Evidence {
  readonly ledger: Ledger;
  readonly stack: Stack;
  /** Valid events of both topics, in the order of each partition, duplicates included. */
  readonly published: readonly Event[];
  /**
   * Whether the topics hold all that was ever in them. If not, `published` begins with what the log of
   * events alone remembers, and what was sent again may come behind what was sent later.
   */
  readonly isWhole: boolean;
  /** What was sent as poison. */
  readonly poison: Readonly<PoisonCounts>;
  /** Who is told of sold-out products. */
  readonly receiver: WebhookReceiver;
  /** Stalls that were not reported everywhere. */
  readonly unseen: readonly string[];
}

export interface Invariant {
  readonly name: string;
  /** @returns violations; empty when it holds */
  check(evidence: Evidence): Promise<string[]> | string[];
}

/** What is known beforehand. */
export type Known = Omit<Evidence, 'published'>;

/** Reads the topics. */
export async function gatherEvidence(known: Known): Promise<Evidence> {
  const { stack, poison, isWhole } = known;
  const messages = [
    ...(await readLog(stack.kafka, 'catalog-events')),
    ...(await readLog(stack.kafka, 'order-events')),
  ];
  const there = messages.filter(({ key }) => !poison.has(key)).map(toEvent);
  return { ...known, published: isWhole ? there : [...(await readGone(stack, there)), ...there] };
}

/** The logged events that no topic holds any more, in the order of the log. */
async function readGone({ pool }: Stack, there: readonly Event[]): Promise<Event[]> {
  const { rows } = await pool.query<{ payload: Event }>(
    'SELECT payload FROM collector.event_log WHERE event_id <> ALL ($1) ORDER BY recorded_at',
    [there.map(({ id }) => id)],
  );
  return rows.map(({ payload }) => payload);
}

/** Every invariant, by name. */
export const invariants: readonly Invariant[] = [
  {
    name: 'every committed change has its event in the log, exactly once, and no other',
    check: ({ stack }) =>
      differences(
        stack,
        `SELECT coalesce(outbox.event_id, log.event_id) AS id,
            CASE WHEN log.event_id IS NULL THEN 'not logged' ELSE 'not in the outbox' END AS problem
          FROM commerce.outbox FULL JOIN collector.event_log AS log USING (event_id)
          WHERE (outbox.event_id IS NULL AND log.type <> 'ProductViewed'
              AND log.payload ->> 'source' = '/commerce-api')
            OR log.event_id IS NULL
            OR outbox.payload <> log.payload`,
      ),
  },
  {
    name: 'of strangers’ events all are logged, except those of aborted transactions',
    check: async ({ stack, ledger: { strangersEvents, voidEvents } }) => {
      const { rows } = await stack.pool.query<{ event_id: string }>(
        'SELECT event_id FROM collector.event_log',
      );
      const logged = new Set(rows.map(({ event_id }) => event_id));
      return [
        ...[...strangersEvents].filter((id) => !logged.has(id)).map((id) => `${id}: not logged`),
        ...[...voidEvents].filter((id) => logged.has(id)).map((id) => `${id}: aborted, and logged`),
      ];
    },
  },
  {
    name: 'every logged event is handled',
    check: ({ stack }) =>
      differences(
        stack,
        `SELECT event_id AS id, 'not handled' AS problem FROM collector.event_log
          WHERE NOT EXISTS (SELECT FROM collector.event_handled AS handled
            WHERE handled.event_id = event_log.event_id)`,
      ),
  },
  {
    name: 'what is in the topics is what is in the log',
    check: async ({ stack, published }) => {
      const { rows } = await stack.pool.query<{ event_id: string }>(
        'SELECT event_id FROM collector.event_log',
      );
      const logged = new Set(rows.map(({ event_id }) => event_id));
      const sent = new Set(published.map(({ id }) => id));
      return [
        ...[...sent].filter((id) => !logged.has(id)).map((id) => `${id}: not logged`),
        ...[...logged].filter((id) => !sent.has(id)).map((id) => `${id}: not in a topic`),
      ];
    },
  },
  {
    name: 'the metrics are what the events in the topics add up to',
    check: async ({ stack, published }) => {
      const expected = addUp(firstCopies(published));
      const actual = await readAggregates(stack.pool);
      return (Object.keys(expected) as (keyof Aggregates)[]).flatMap((table) =>
        compareRows(table, expected[table], actual[table]),
      );
    },
  },
  {
    name: 'the first copies of a product’s events are in the order of their versions',
    check: ({ published, isWhole }) => {
      if (!isWhole) return [];
      const last = new Map<string, number>();
      return firstCopies(published).flatMap((event) => {
        if (event.type !== 'StockAdjusted' && event.type !== 'LikeChanged') return [];
        const name = `${event.type} of ${event.subject}`;
        const { version } = event.data;
        const expected = (last.get(name) ?? (event.type === 'StockAdjusted' ? 1 : 0)) + 1;
        last.set(name, version);
        return version === expected ? [] : [`${name}: version ${version} after ${expected - 1}`];
      });
    },
  },
  {
    name: 'the first copies of each key are in the order of their commits',
    check: async ({ stack, published, isWhole }) => {
      if (!isWhole) return [];
      const { rows } = await stack.pool.query<{ id: string; key: string; sequence: number }>(
        'SELECT event_id AS id, key, sequence::int AS sequence FROM commerce.outbox',
      );
      const commits = new Map(rows.map((row) => [row.id, row]));
      const last = new Map<string, number>();
      return firstCopies(published).flatMap(({ id }) => {
        const { key, sequence } = commits.get(id) ?? { key: undefined, sequence: 0 };
        if (key === undefined) return [];
        const before = last.get(key) ?? 0;
        last.set(key, sequence);
        return sequence > before ? [] : [`${key}: ${id}, ${sequence}, behind ${before}`];
      });
    },
  },
  {
    name: 'an order’s events are in the order in which they happened',
    check: ({ published, isWhole }) => {
      if (!isWhole) return [];
      const steps = new Map<string, number>();
      return firstCopies(published).flatMap((event) => {
        const step = orderSteps.indexOf(event.type);
        if (step < 0) return [];
        const before = steps.get(event.subject) ?? -1;
        steps.set(event.subject, step);
        return step > before ? [] : [`${event.subject}: ${event.type} after step ${before}`];
      });
    },
  },
  {
    name: 'acknowledged adjustments have happened exactly once, and no others',
    check: async ({ stack, ledger }) => {
      const { rows } = await stack.pool.query<{ event_id: string }>(
        `SELECT event_id FROM commerce.stock_adjustments WHERE reason = 'restock'`,
      );
      const happened = rows.map(({ event_id }) => event_id);
      return [
        ...happened.filter((id) => !ledger.adjustmentEvents.has(id)).map((id) => `${id}: unknown`),
        ...[...ledger.adjustmentEvents]
          .filter((id) => !happened.includes(id))
          .map((id) => `${id}: lost`),
      ];
    },
  },
  {
    name: 'the stock is what was registered and added, less what is sold, and never below 0',
    check: async ({ stack, ledger }) => {
      const { rows } = await stack.pool.query<{ product_id: string; stock: number }>(
        'SELECT product_id, stock FROM commerce.products',
      );
      return rows.flatMap(({ product_id: id, stock }) => {
        const sold = [...ledger.orders.values()]
          .filter((order) => order.confirmed && order.productId === id)
          .reduce((sum, { quantity }) => sum + quantity, 0);
        const expected = (ledger.products.get(id) ?? NaN) + (ledger.adjusted.get(id) ?? 0) - sold;
        return stock === expected ? [] : [`${id}: ${stock} instead of ${expected}`];
      });
    },
  },
  {
    name: 'no order is undecided, and the confirmed ones are those that shoppers know',
    check: async ({ stack, ledger }) => {
      const { rows } = await stack.pool.query<{ order_id: string; status: string }>(
        `SELECT order_id, status FROM commerce.orders WHERE status <> 'CANCELLED'`,
      );
      const confirmed = [...ledger.orders.values()].filter((order) => order.confirmed);
      const known = new Set(confirmed.map(({ orderId }) => orderId));
      const there = new Set(rows.map(({ order_id }) => order_id));
      return [
        ...rows
          .filter(({ order_id, status }) => status !== 'CONFIRMED' || !known.has(order_id))
          .map(({ order_id, status }) => `${order_id}: ${status}, unknown to its shopper`),
        ...[...known].filter((id) => !there.has(id)).map((id) => `${id}: lost`),
      ];
    },
  },
  {
    name: 'the money that the gateway holds is that of the confirmed orders',
    check: async ({ stack, ledger }) => {
      const held = new Map<string, number>();
      for (const { reference, amount, refundedAmount } of await readCharges(stack.config)) {
        if (ledger.strangersOrders.has(reference)) continue;
        held.set(reference, (held.get(reference) ?? 0) + amount - refundedAmount);
      }
      const { rows } = await stack.pool.query<{ order_id: string }>(
        'SELECT order_id FROM commerce.orders',
      );
      // Charges without an order, too: nobody may pay for nothing.
      const ids = new Set([...rows.map(({ order_id: id }) => id), ...held.keys()]);
      return [...ids].flatMap((id) => {
        const order = ledger.orders.get(id);
        const expected = order?.confirmed === true ? order.totalAmount : 0;
        const actual = held.get(id) ?? 0;
        return actual === expected ? [] : [`${id}: ${actual} instead of ${expected}`];
      });
    },
  },
  {
    name: 'who likes what is what each user was told last, and the counts agree',
    check: async ({ stack, ledger }) => {
      const { rows } = await stack.pool.query<{ pair: string }>(
        `SELECT product_id || ' ' || user_id AS pair FROM commerce.product_likes`,
      );
      const liked = new Set(rows.map(({ pair }) => pair));
      const wrong = [...ledger.likes]
        .filter(([pair, like]) => liked.has(pair) !== like && !ledger.uncertainLikes.has(pair))
        .map(([pair, like]) => `${pair}: should be ${like}`);
      const counts = await differences(
        stack,
        `SELECT product_id AS id, 'like count' AS problem FROM commerce.products AS product
          WHERE like_count <> (SELECT count(*) FROM commerce.product_likes AS likes
            WHERE likes.product_id = product.product_id)`,
      );
      return [...wrong, ...counts];
    },
  },
  {
    name: 'every answered view has its event, exactly once',
    check: async ({ stack, ledger, isWhole }) => {
      const { rows } = await stack.pool.query<{ pair: string; times: number }>(
        `SELECT aggregate_id || ' ' || (payload -> 'data' ->> 'userId') AS pair, count(*)::int AS times
          FROM collector.event_log
          WHERE type = 'ProductViewed' AND payload ->> 'source' = '/commerce-api' GROUP BY 1`,
      );
      const logged = new Map(rows.map(({ pair, times }) => [pair, times]));
      return [...ledger.views].flatMap(([pair, isAnswered]) => {
        const times = logged.get(pair) ?? 0;
        // What was acknowledged and then deleted from its topic, no API has any more.
        const least = isAnswered && isWhole ? 1 : 0;
        return times >= least && times <= 1 ? [] : [`${pair}: logged ${times} times`];
      });
    },
  },
  {
    name: 'shop and collector agree on stock and likes',
    check: ({ stack }) =>
      differences(
        stack,
        `SELECT product_id AS id, 'differs' AS problem
          FROM commerce.products AS product LEFT JOIN collector.product_metrics AS metric USING (product_id)
          WHERE (product.stock, product.stock_version, product.like_count, product.like_version)
            IS DISTINCT FROM (metric.stock, metric.stock_version, metric.like_count, metric.like_version)`,
      ),
  },
  {
    name: 'the cache shows nothing that is older than its last eviction',
    check: async ({ stack }) => {
      const { rows } = await stack.pool.query<{
        product_id: string;
        stock: number;
        like_count: number;
      }>('SELECT product_id, stock, like_count FROM commerce.products');
      const problems: string[] = [];
      for (const { product_id: id, stock, like_count: likeCount } of rows) {
        const json = await stack.redis.get(`product:${id}`);
        if (json === null) continue;
        const shown = JSON.parse(json) as { soldOut: boolean; likeCount: number };
        if (shown.soldOut !== (stock === 0)) problems.push(`${id}: soldOut ${shown.soldOut}`);
        // The load stays below the count from which it is rounded.
        if (shown.likeCount !== likeCount) problems.push(`${id}: likeCount ${shown.likeCount}`);
      }
      return problems;
    },
  },
  {
    name: 'a receiver that keeps keys is told of each product that sold out once, and of nothing else',
    check: async ({ stack, published, receiver }) => {
      const due = firstCopies(published)
        .filter(
          (event) =>
            event.type === 'StockAdjusted' &&
            event.data.previousStock > 0 &&
            event.data.stock === 0,
        )
        .map(({ id }) => id);
      const told = [...receiver.taken.values()].map(
        ({ body }) => (JSON.parse(body) as { data: { eventId: string } }).data.eventId,
      );
      const times = new Map<string, number>(due.map((id) => [id, 0]));
      for (const id of told) times.set(id, (times.get(id) ?? 0) + 1);
      const expected = new Set(due);
      return [
        ...[...times]
          .filter(([id, count]) => count !== (expected.has(id) ? 1 : 0))
          .map(([id, count]) => `${id}: told ${count} times`),
        ...(await differences(
          stack,
          `SELECT event_id AS id, status AS problem FROM collector.notifications
            WHERE status <> 'delivered'`,
        )),
      ];
    },
  },
  {
    name: 'every poison message is parked, each once, and nothing else is',
    check: async ({ stack, poison }) => {
      const { rows } = await stack.pool.query<{ key: string; count: number }>(
        `SELECT coalesce(convert_from(key, 'UTF8'), '') AS key, count(*)::int AS count
          FROM collector.dead_letters GROUP BY 1`,
      );
      const parked = new Map(rows.map(({ key, count }) => [key, count]));
      return [...new Set([...parked.keys(), ...poison.keys()])].flatMap((key) => {
        const [times, expected] = [parked.get(key) ?? 0, poison.get(key) ?? 0];
        return times === expected ? [] : [`'${key}': parked ${times} times instead of ${expected}`];
      });
    },
  },
  {
    name: 'nothing stands still unseen by readiness, metrics or verify',
    check: ({ unseen }) => [...unseen],
  },
  {
    name: 'no process has exited by itself',
    check: ({ stack }) => stack.exitedUnasked(),
  },
];

const orderSteps: readonly string[] = [
  'OrderPlaced',
  'PaymentCompleted',
  'PaymentFailed',
  'OrderConfirmed',
  'OrderCancelled',
];

/** Each event as it came first. */
function firstCopies(events: readonly Event[]): Event[] {
  const copies = new Map<string, Event>();
  for (const event of events) if (!copies.has(event.id)) copies.set(event.id, event);
  return [...copies.values()];
}

function toEvent({ value }: TopicMessage): Event {
  return JSON.parse(value) as Event;
}

async function differences(stack: Stack, text: string): Promise<string[]> {
  const { rows } = await stack.pool.query<{ id: string; problem: string }>(text);
  return rows.map(({ id, problem }) => `${id}: ${problem}`);
}

function compareRows(
  table: string,
  expected: readonly Record<string, unknown>[],
  actual: readonly Record<string, unknown>[],
): string[] {
  if (expected.length !== actual.length) {
    return [`${table}: ${actual.length} rows instead of ${expected.length}`];
  }
  return expected.flatMap((row, index) =>
    isDeepStrictEqual(row, actual[index])
      ? []
      : [`${table}: ${JSON.stringify(actual[index])} instead of ${JSON.stringify(row)}`],
  );
}
