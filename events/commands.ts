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
  /** The stock would have fallen below 0 or been raised above 2^52; `stock` is what it is. */
  | { readonly kind: 'stock-out-of-range'; readonly stock: number };

/** One line of an order as it is asked for. */
export interface OrderLine {
  readonly productId: string;
  /** Units, from 1 up. */
  readonly quantity: number;
}

/** What a shopper wants to buy. */
export interface OrderRequest {
  readonly userId: string;
  /** Each product once. */
  readonly items: readonly OrderLine[];
  /** How to pay, as the payment gateway knows it. */
  readonly paymentToken: string;
}

/** Places an order or, without a request, carries an existing one on from where the database says it is. */
export interface PlaceOrder {
  readonly orderId: string;
  readonly request?: OrderRequest;
}

/**
 * Where an order stands. `PLACED`: its stock is reserved and its payment under way. `CONFIRMED`: it
 * is paid. `CANCELLED`: its stock is back and nothing is owed.
 */
export type OrderStatus = 'PLACED' | 'CONFIRMED' | 'CANCELLED';

/** Why an order was cancelled. */
type CancellationCause = 'payment-failed' | 'requested' | 'timed-out';

/** Why an order was cancelled, for a program and for a person. */
export interface Cancellation {
  readonly cause: CancellationCause;
  readonly reason: string;
}

/** How an order turned out; the first three wrote nothing. */
export type OrderOutcome =
  | { readonly kind: 'unknown-product'; readonly productId: string }
  | { readonly kind: 'out-of-stock'; readonly productId: string; readonly stock: number }
  | { readonly kind: 'unknown-order' }
  | {
      readonly kind: 'confirmed';
      /** What was paid, in the smallest currency unit. */
      readonly totalAmount: number;
    }
  | ({ readonly kind: 'cancelled' } & Cancellation);

/** Asks for the cancellation of an order. */
export interface CancelOrder {
  /** Why, for a person. */
  readonly reason: string;
}

/** Makes a user like a product, or like it no more. */
export interface ChangeLike {
  /** Names this request: the same ID again answers the same. */
  readonly requestId: string;
  readonly productId: string;
  readonly userId: string;
  readonly liked: boolean;
}

/** How a change of like turned out. */
export type LikeOutcome =
  | {
      readonly kind: 'liked' | 'not-liked';
      /** Users who like the product now. */
      readonly likeCount: number;
      /** Whether this request changed anything; if not, there is no event. */
      readonly changed: boolean;
    }
  | { readonly kind: 'unknown-product' };
