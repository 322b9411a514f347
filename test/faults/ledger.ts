/**
 * The requests and responses of a run's clients: the truth against which everything else is
 * checked. A command without a response is retried with the same key until there is one.
 */

/** An order as its shopper knows it. */
interface KnownOrder {
  readonly orderId: string;
  readonly productId: string;
  readonly quantity: number;
  readonly totalAmount: number;
  /** Whether it ended as confirmed; a confirmed one may have been cancelled afterwards. */
  confirmed: boolean;
}

/** Everything that was acknowledged. */
export interface Ledger {
  /** Orders that the payment gateway knows from earlier pipelines: it keeps one book for all. */
  readonly strangersOrders: ReadonlySet<string>;
  /** Units that each product was registered with. */
  readonly products: Map<string, number>;
  /** Products that the load does not touch. */
  readonly leftAlone: Set<string>;
  /** Units that acknowledged adjustments have added to each product. */
  readonly adjusted: Map<string, number>;
  /** IDs of the events of acknowledged adjustments. */
  readonly adjustmentEvents: Set<string>;
  readonly orders: Map<string, KnownOrder>;
  /** Who likes what, as `productId userId`, after each one's last acknowledged change. */
  readonly likes: Map<string, boolean>;
  /** Pairs of which a change was once left without an answer. */
  readonly uncertainLikes: Set<string>;
  /**
   * Whether a view was answered, by `productId viewer`. Each view has a viewer of its own, so that each is
   * known by its event.
   */
  readonly views: Map<string, boolean>;
  /** IDs of the events that strangers have sent and that must be logged. */
  readonly strangersEvents: Set<string>;
  /** IDs of those that they have sent and aborted. */
  readonly voidEvents: Set<string>;
  /** Answers that name no way on, as `500 GET /v1/…`: any from 500 on but a 503 with `Retry-After`. */
  readonly failures: string[];
  /** Calls of the API, answered or not. */
  sent: number;
  /** Calls that were answered as decided. */
  acknowledged: number;
}

/** An empty ledger. `strangersOrders`: those that the payment gateway knew before. */
export function createLedger(strangersOrders: ReadonlySet<string>): Ledger {
  return {
    strangersOrders,
    products: new Map(),
    leftAlone: new Set(),
    adjusted: new Map(),
    adjustmentEvents: new Set(),
    orders: new Map(),
    likes: new Map(),
    uncertainLikes: new Set(),
    views: new Map(),
    strangersEvents: new Set(),
    voidEvents: new Set(),
    failures: [],
    sent: 0,
    acknowledged: 0,
  };
}
