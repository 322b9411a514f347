/** What the API answers, as far as the dashboard reads it. */
import type { EncodedBytes } from './format';

/** An event of the stream. */
export interface HandledEvent {
  readonly eventId: string;
  readonly type: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly aggregateId: string;
  readonly occurredAt: string;
  readonly handledAt: string;
  readonly workflowId: string;
}

/** `GET /v1/dashboard/settings`. */
export interface Settings {
  readonly operator: string;
  readonly temporalUiUrl: string;
  readonly temporalNamespace: string;
  readonly demonstration: boolean;
}

/** `GET /readyz`. */
export interface Readiness {
  readonly status: 'ready' | 'degraded' | 'unavailable' | 'stopping';
  readonly dependencies: Readonly<
    Record<
      string,
      { readonly status: 'up' | 'down'; readonly required: boolean; readonly reason?: string }
    >
  >;
}

/** `GET /v1/processes`. */
export interface Processes {
  readonly items: readonly { readonly name: string; readonly running: number | null }[];
}

/** `GET /v1/lag`. */
export interface Lag {
  readonly total: number;
  readonly partitions: readonly PartitionLag[];
}

/** A partition, and where the collector stands in it. */
export interface PartitionLag {
  readonly topic: string;
  readonly partition: number;
  readonly committed: number | null;
  readonly end: number;
  readonly lag: number;
}

/** `GET /v1/metrics/rates`. */
export interface Rates {
  readonly seconds: number;
  readonly items: readonly {
    readonly at: string;
    readonly events: number;
    readonly medianMs: number | null;
    readonly p95Ms: number | null;
  }[];
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  readonly nextCursor: string | null;
}

/** What products are ranked by. */
export type Ranking = 'sales' | 'likes' | 'views';

/** An item of `GET /v1/metrics/products`. */
export interface RankedProduct {
  readonly productId: string;
  readonly name: string | null;
  readonly viewCount: number;
  readonly likeCount: number;
  readonly salesCount: number;
}

/** What a product's events add up to. */
interface ProductMetrics {
  readonly viewCount: number;
  readonly likeCount: number;
  readonly salesCount: number;
  readonly stock: number | null;
  readonly updatedAt: string;
}

/** `GET /v1/products/{id}/inspection`. */
export interface Inspection {
  /** Null when no event has told of the product. */
  readonly metrics: ProductMetrics | null;
  readonly shop: {
    readonly name: string;
    readonly price: number;
    readonly stock: number;
    readonly likeCount: number;
  } | null;
  readonly cache:
    | {
        readonly status: 'cached';
        readonly expiresInMs: number;
        readonly detail: Readonly<Record<string, unknown>>;
      }
    | { readonly status: 'absent' | 'unknown' };
}

/** An item of `GET /v1/metrics/products/{id}/history`. */
export interface HistoryEvent {
  readonly eventId: string;
  readonly type: string;
  readonly occurredAt: string;
  readonly recordedAt: string;
  readonly handledAt: string | null;
  readonly workflowId: string | null;
  readonly event: { readonly data?: Readonly<Record<string, unknown>> };
}

/** An item of `GET /v1/metrics/products/{id}/users`. */
export interface ProductUser {
  readonly userId: string;
  readonly viewCount: number;
  readonly liked: boolean;
  readonly purchaseCount: number;
  readonly lastEventAt: string;
}

/** Where a dead letter stands. */
export type DeadLetterStatus = 'parked' | 'redriven' | 'discarded';

/** An item of `GET /v1/dead-letters`. */
export interface DeadLetter {
  readonly id: number;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly lastOffset: number | null;
  readonly key: EncodedBytes | null;
  readonly eventId: string | null;
  readonly reason: string;
  readonly detail: string;
  readonly status: DeadLetterStatus;
  readonly tries: number;
  readonly redrivenFrom: number | null;
  readonly redrivingSince: string | null;
  readonly workflowId: string;
  readonly producedAt: string;
  readonly parkedAt: string;
  readonly resolvedAt: string | null;
  readonly resolvedBy: string | null;
  readonly note: string | null;
  readonly copied: boolean;
  readonly copyError: string | null;
}

/** A header: without a value, with text, or with bytes that are no text. */
export interface Header {
  readonly name: string;
  readonly nameBase64?: string;
  readonly text?: string;
  readonly base64?: string;
  readonly value?: null;
}

/** `GET /v1/dead-letters/{id}`. */
export interface DeadLetterWithMessage extends DeadLetter {
  readonly value: EncodedBytes | null;
  readonly headers: readonly Header[];
}

/** `POST /v1/demonstration/orders`. */
export interface DemonstrationOrder {
  readonly orderId: string;
  readonly productId: string;
  readonly name: string;
  readonly quantity: number;
  readonly totalAmount: number;
}

/** `POST /v1/demonstration/poison`. */
export interface SentMessage {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** `POST /v1/demonstration/redeliveries`. */
export interface Redelivery extends SentMessage {
  readonly eventId: string;
  readonly type: string;
  readonly handledAt: string;
  readonly workflowId: string;
}
