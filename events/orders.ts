/**
 * Placing and cancelling an order: the largest command, whose workflow a second one cancels. The other
 * commands are in commands/. Idempotent: an order is decided once, and a retry returns the same outcome.
 */
import { deriveEventId } from './identifiers';
import { workflowIds } from './workflow-ids';

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
  /** To cancel it, too: a request that an earlier run may have forgotten. */
  readonly cancellation?: CancelOrder;
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

/** Types of the events about an order itself, each of which it has at most once. */
export type OrderEventType =
  'OrderPlaced' | 'PaymentCompleted' | 'PaymentFailed' | 'OrderConfirmed' | 'OrderCancelled';

/** The ID of an event about an order itself. */
export function orderEventId(orderId: string, type: OrderEventType): string {
  return deriveEventId(workflowIds.placeOrder(orderId), type, orderId);
}

/** What an order does with the stock of each of its products: reserves it, and releases it when cancelled. */
export type StockStep = 'reserve' | 'release';

/** The ID of the `StockAdjusted` of an order's product. */
export function orderStockEventId(orderId: string, step: StockStep, productId: string): string {
  return deriveEventId(workflowIds.placeOrder(orderId), 'StockAdjusted', `${step}/${productId}`);
}

/** The payment gateway's idempotency key for the charge of an order: all tries of it have this one. */
export function orderChargeKey(orderId: string): string {
  return `${workflowIds.placeOrder(orderId)}/charge`;
}
