/**
 * The aggregate tables, and a simple model of them: events added up one after the other, in memory,
 * each once.
 */
import type { Pool } from 'pg';
import type { Event } from '../events/envelope';

/** The rows of the aggregate tables, in the order of their keys. */
export type Aggregates = Readonly<
  Record<
    'product_metrics' | 'product_metrics_daily' | 'product_user_metrics',
    Record<string, unknown>[]
  >
>;

/** The aggregates in the database. */
export async function readAggregates(pool: Pool): Promise<Aggregates> {
  const read = async (text: string): Promise<Record<string, unknown>[]> =>
    (await pool.query<Record<string, unknown>>(text)).rows;
  return {
    product_metrics: await read(`
      SELECT product_id, view_count, sales_count::text, like_count, like_version, stock, stock_version
      FROM collector.product_metrics ORDER BY product_id COLLATE "C"`),
    product_metrics_daily: await read(`
      SELECT product_id, day::text, view_count, like_delta, sales_count::text
      FROM collector.product_metrics_daily ORDER BY product_id COLLATE "C", day`),
    product_user_metrics: await read(`
      SELECT product_id, user_id, view_count, purchase_count::text, liked, liked_version, last_event_at
      FROM collector.product_user_metrics ORDER BY product_id COLLATE "C", user_id COLLATE "C"`),
  };
}

/** The aggregates of distinct events. */
export function addUp(events: readonly Event[]): Aggregates {
  const products = new Map<string, ProductRow>();
  const days = new Map<string, DailyRow>();
  const users = new Map<string, UserRow>();

  const product = (id: string): ProductRow =>
    getOrAdd(products, id, {
      views: 0n,
      sales: 0n,
      likes: 0,
      likeVersion: 0,
      stock: null,
      stockVersion: 0,
    });
  const day = (id: string, time: string): DailyRow =>
    getOrAdd(days, `${id} ${new Date(time).toISOString().slice(0, 10)}`, {
      views: 0,
      likes: 0,
      sales: 0n,
    });
  const user = (id: string, userId: string, time: string): UserRow => {
    const row = getOrAdd(users, `${id} ${userId}`, {
      views: 0,
      purchases: 0n,
      liked: false,
      likedVersion: 0,
      last: new Date(0),
    });
    if (new Date(time) > row.last) row.last = new Date(time);
    return row;
  };

  for (const event of events) {
    switch (event.type) {
      case 'ProductViewed': {
        const { productId, userId } = event.data;
        product(productId).views += 1n;
        day(productId, event.time).views += 1;
        if (userId !== undefined) user(productId, userId, event.time).views += 1;
        break;
      }
      case 'LikeChanged': {
        const { productId, userId, liked, likeCount, version } = event.data;
        const row = product(productId);
        if (version > row.likeVersion)
          Object.assign(row, { likes: likeCount, likeVersion: version });
        day(productId, event.time).likes += liked ? 1 : -1;
        const own = user(productId, userId, event.time);
        if (version > own.likedVersion) Object.assign(own, { liked, likedVersion: version });
        break;
      }
      case 'ProductRegistered':
      case 'StockAdjusted': {
        const { productId, stock, version } = event.data;
        const row = product(productId);
        if (version > row.stockVersion) Object.assign(row, { stock, stockVersion: version });
        break;
      }
      case 'OrderConfirmed':
      case 'OrderCancelled': {
        if (event.type === 'OrderCancelled' && !event.data.wasConfirmed) break;
        const sign = event.type === 'OrderConfirmed' ? 1n : -1n;
        for (const { productId, quantity } of event.data.items) {
          const sold = sign * BigInt(quantity);
          product(productId).sales += sold;
          day(productId, event.time).sales += sold;
          user(productId, event.data.userId, event.time).purchases += sold;
        }
        break;
      }
      default:
        break;
    }
  }
  return {
    product_metrics: sorted(products).map(([id, row]) => ({
      product_id: id,
      view_count: Number(row.views),
      sales_count: String(row.sales),
      like_count: row.likes,
      like_version: row.likeVersion,
      stock: row.stock,
      stock_version: row.stockVersion,
    })),
    product_metrics_daily: sorted(days).map(([key, row]) => ({
      product_id: key.split(' ')[0],
      day: key.split(' ')[1],
      view_count: row.views,
      like_delta: row.likes,
      sales_count: String(row.sales),
    })),
    product_user_metrics: sorted(users).map(([key, row]) => ({
      product_id: key.split(' ')[0],
      user_id: key.split(' ')[1],
      view_count: row.views,
      purchase_count: String(row.purchases),
      liked: row.liked,
      liked_version: row.likedVersion,
      last_event_at: row.last,
    })),
  };
}

interface ProductRow {
  views: bigint;
  sales: bigint;
  likes: number;
  likeVersion: number;
  stock: number | null;
  stockVersion: number;
}

interface DailyRow {
  views: number;
  likes: number;
  sales: bigint;
}

interface UserRow {
  views: number;
  purchases: bigint;
  liked: boolean;
  likedVersion: number;
  last: Date;
}

function getOrAdd<V>(rows: Map<string, V>, key: string, initial: V): V {
  const existing = rows.get(key);
  if (existing !== undefined) return existing;
  rows.set(key, initial);
  return initial;
}

function sorted<V>(rows: Map<string, V>): [string, V][] {
  return [...rows].sort(([one], [other]) => (one < other ? -1 : 1));
}
