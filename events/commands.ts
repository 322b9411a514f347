/**
 * The commands that change the shop's state and cause its events, and their outcomes. Idempotent: a
 * command is decided once, and a retry returns the same outcome.
 */
import type { StockReason } from './types/stock-adjusted';

export interface RegisterProduct {
  readonly productId: string;
  readonly name: string;
  /** In the smallest currency unit. */
  readonly price: number;
  /** Units in stock to begin with. */
  readonly stock: number;
}

export interface ProductRegistration extends RegisterProduct {
  readonly version: number;
  readonly eventId: string;
}

/** Changes the stock of a product by a number of units. */
export interface AdjustStock {
  /** Idempotency key of the change: a retry returns the first outcome. */
  readonly adjustmentId: string;
  readonly productId: string;
  /** Units to add, or to take away when negative. */
  readonly delta: number;
  readonly reason: StockReason;
}

/** Outcome of a stock change; all but `adjusted` changed nothing. */
export type StockOutcome =
  | {
      readonly kind: 'adjusted';
      /** Units after the change. */
      readonly stock: number;
      readonly version: number;
      readonly eventId: string;
    }
  | { readonly kind: 'unknown-product' }
  /** The stock would have fallen below 0 or risen above 2^52; `stock` is the current stock. */
  | { readonly kind: 'stock-out-of-range'; readonly stock: number };

/** One line of a requested order. */
export interface OrderLine {
  readonly productId: string;
  /** Units, from 1 up. */
  readonly quantity: number;
}

/** A request to place an order. */
export interface OrderRequest {
  readonly userId: string;
  /** Each product once. */
  readonly items: readonly OrderLine[];
  /** The payment gateway's token. */
  readonly paymentToken: string;
}

/** Places an order or, without a request, resumes an existing one from its stored status. */
export interface PlaceOrder {
  readonly orderId: string;
  readonly request?: OrderRequest;
}

/**
 * Status of an order. `PLACED`: stock reserved, payment in progress. `CONFIRMED`: paid. `CANCELLED`:
 * stock released, no money held.
 */
export type OrderStatus = 'PLACED' | 'CONFIRMED' | 'CANCELLED';

/** Why an order was cancelled. */
type CancellationCause = 'payment-failed' | 'requested' | 'timed-out';

/** Why an order was cancelled, for a program and for a person. */
export interface Cancellation {
  readonly cause: CancellationCause;
  readonly reason: string;
}

/** Outcome of an order; the first three wrote nothing. */
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

export interface CancelOrder {
  /** Why, for a person. */
  readonly reason: string;
}

/** Likes or unlikes a product for a user. */
export interface ChangeLike {
  /** Idempotency key of the request: a retry returns the same outcome. */
  readonly requestId: string;
  readonly productId: string;
  readonly userId: string;
  readonly liked: boolean;
}

/** Outcome of a like change. */
export type LikeOutcome =
  | {
      readonly kind: 'liked' | 'not-liked';
      /** Users who like the product now. */
      readonly likeCount: number;
      /** Whether this request changed anything; if not, there is no event. */
      readonly changed: boolean;
    }
  | { readonly kind: 'unknown-product' };
