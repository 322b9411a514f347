/**
 * The product detail, from the cache or else from PostgreSQL. A cache that fails or hangs never fails
 * the read.
 */
import type { z } from 'zod';
import type { Logger } from '../../platform/observability/logger';
import { cacheLookups } from '../../platform/observability/telemetry';
import type { CacheLookup, ProductCache } from '../../cache/product-cache';
import { isSoldOut, shownLikeCount } from '../../events/product-detail';
import type { Database } from '../http/database';
import type { PageRequest } from '../http/pages';
import { shareNextReading } from '../../platform/process/shared-reading';
import type { productDetailSchema } from './schemas';

/** The product detail that every caller may see. */
export type ProductDetail = z.infer<typeof productDetailSchema>;

/** A detail that was found, as JSON, and whether the cache had it. */
interface FoundDetail {
  readonly json: string;
  readonly cached: boolean;
}

/** Finds products. */
export interface ProductDetails {
  /** The detail of a product, or undefined when there is no such product. */
  find(productId: string): Promise<FoundDetail | undefined>;
  /** Products in the order of their IDs. */
  list(page: PageRequest<readonly [productId: string]>): Promise<ProductDetail[]>;
  /** The names of the products, of those that exist, by ID. */
  findNames(productIds: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** The price of one unit of each of the products, of those that exist, by ID. */
  findPrices(productIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

/** What finding products needs. */
export interface ProductDetailsDependencies {
  /** For reads of products. */
  readonly database: Database;
  /** For checks before a change, which must not queue behind reads. */
  readonly changeDatabase: Database;
  readonly cache: ProductCache;
  readonly logger: Logger;
}

/** Finds products in the cache and in the database. */
export function createProductDetails(dependencies: ProductDetailsDependencies): ProductDetails {
  const { database, changeDatabase } = dependencies;
  const cache = tolerant(dependencies.cache, dependencies.logger);
  // After an eviction everybody misses at once.
  const load = shareNextReading(async (productId: string, lease: string | undefined) => {
    const product = await selectOne(database, productId);
    if (product === undefined) return undefined;
    const json = JSON.stringify(toDetail(product));
    if (lease !== undefined) cache.fill(productId, lease, json);
    return json;
  });
  return {
    async find(productId) {
      const lookup = await cache.lookUp(productId);
      if (lookup?.hit === true) return { json: lookup.json, cached: true };
      const json = await load(productId, lookup?.lease);
      return json === undefined ? undefined : { json, cached: false };
    },
    async list({ limit, after = [''] }) {
      return (await selectPage(database, limit, after[0])).map(toDetail);
    },
    async findNames(productIds) {
      const rows = await database.query<{ product_id: string; name: string }>({
        name: 'product-names',
        text: `
          SELECT product_id, name FROM commerce.products WHERE product_id = ANY($1::text[])`,
        values: [productIds],
      });
      return new Map(rows.map(({ product_id, name }) => [product_id, name]));
    },
    async findPrices(productIds) {
      const rows = await changeDatabase.query<{ product_id: string; price: number }>({
        name: 'product-prices',
        text: `
          SELECT product_id, price FROM commerce.products WHERE product_id = ANY($1::text[])`,
        values: [productIds],
      });
      return new Map(rows.map(({ product_id, price }) => [product_id, price]));
    },
  };
}

interface ProductRow {
  readonly product_id: string;
  readonly name: string;
  readonly price: number;
  readonly stock: number;
  readonly like_count: number;
}

function toDetail({ product_id, name, price, stock, like_count }: ProductRow): ProductDetail {
  return {
    productId: product_id,
    name,
    price,
    soldOut: isSoldOut(stock),
    likeCount: shownLikeCount(like_count),
  };
}

async function selectOne(database: Database, productId: string): Promise<ProductRow | undefined> {
  const rows = await database.query<ProductRow>({
    name: 'product-detail',
    text: `
      SELECT product_id, name, price, stock, like_count
      FROM commerce.products WHERE product_id = $1`,
    values: [productId],
  });
  return rows[0];
}

function selectPage(database: Database, limit: number, after: string): Promise<ProductRow[]> {
  return database.query<ProductRow>({
    name: 'product-page',
    text: `
      SELECT product_id, name, price, stock, like_count
      FROM commerce.products WHERE product_id > $1 ORDER BY product_id LIMIT $2`,
    values: [after, limit],
  });
}

/** A circuit breaker: after a failure the cache is skipped for a moment. */
interface TolerantCache {
  /** Undefined when the cache is unavailable. */
  lookUp(productId: string): Promise<CacheLookup | undefined>;
  /** Returns at once: the reader's answer does not depend on it. */
  fill(productId: string, lease: string, json: string): void;
}

// A Redis that hangs costs a reader the command timeout: once in this many ms, not every time.
const pauseMs = 1_000;

function tolerant(cache: ProductCache, logger: Logger): TolerantCache {
  let pausedUntil = 0;
  const pause = (error: unknown): undefined => {
    if (Date.now() >= pausedUntil)
      logger.warn({ err: error }, 'product cache unavailable; reading from PostgreSQL');
    pausedUntil = Date.now() + pauseMs;
  };
  return {
    async lookUp(productId) {
      const found =
        Date.now() < pausedUntil ? undefined : await cache.lookUp(productId).catch(pause);
      if (found === undefined) cacheLookups.inc({ result: 'failed' });
      return found;
    },
    fill(productId, lease, json) {
      cache.fill(productId, lease, json).catch(pause);
    },
  };
}
