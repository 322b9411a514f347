/**
 * The commands that change the shop's state and cause its events, and how each can turn out. An
 * outcome is decided once per command: the same command again answers the same outcome.
 */
import type { StockReason } from './schemas';

/** Puts a product on sale. */
export interface RegisterProduct {
  readonly productId: string;
  readonly name: string;
  /** In the smallest currency unit. */
  readonly price: number;
  /** Units in stock to begin with. */
  readonly stock: number;
}

/** A product is on sale. */
export interface ProductRegistration extends RegisterProduct {
  readonly version: number;
  readonly eventId: string;
}

/** Changes the stock of a product by a number of units. */
export interface AdjustStock {
  /** Names this change: the same ID again changes nothing and answers the first outcome. */
  readonly adjustmentId: string;
  readonly productId: string;
  /** Units to add, or to take away when negative. */
  readonly delta: number;
  readonly reason: StockReason;
}

/** How a change of stock turned out; all but `adjusted` changed nothing. */
export type StockOutcome =
  | {
      readonly kind: 'adjusted';
      /** Units after the change. */
      readonly stock: number;
      readonly version: number;
      readonly eventId: string;
    }
  | { readonly kind: 'unknown-product' }
  /** The stock would have left the range from 0 to 2^53 - 1; `stock` is what it is. */
  | { readonly kind: 'stock-out-of-range'; readonly stock: number };
