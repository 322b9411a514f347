/** What the API answers: the types of its routes' own schemas, under the dashboard's names. */
import type { z } from 'zod';
import type {
  checkedDeadLetter,
  checkReport,
  deadLetterGroups,
  deadLetterSchema,
  deadLetterWithMessage,
  discardedMany,
  encodedBytes,
  redriven,
  redrivenMany,
} from '../../dead-letters/schemas';
import type { demonstrationOrder, redelivery, sentMessage } from '../../demonstration/schemas';
import type { journeySchema } from '../../events/schemas';
import type { handlingRates } from '../../handling-rates/schemas';
import type {
  cancelledOrder,
  listedOrder,
  orderTimeline,
  undecidedOrder,
} from '../../orders/schemas';
import type { lagSchema } from '../../pipeline/schemas';
import type { inspectionSchema } from '../../product-inspection/schemas';
import type { historyPage, productUserPage, rankingPage } from '../../product-metrics/schemas';
import type { searchResults } from '../../search/schemas';
import type { statusSchema } from '../../status/schemas';
import type { handledEvents, StreamedData } from '../../stream/schemas';
import type { verificationSchema } from '../../verification/schemas';
import type { settingsSchema } from '../schemas';

export type { Page } from '../../http/page-schema';
export type { Ranking } from '../../product-metrics/schemas';
export type { StreamedData } from '../../stream/schemas';

/** An event of the stream. */
export type HandledEvent = StreamedData['handled'];

/** `GET /v1/handled-events`. */
export type HandledEvents = z.output<typeof handledEvents>;

/** `GET /v1/dashboard/settings`. */
export type Settings = z.output<typeof settingsSchema>;

/** `GET /v1/status`. */
export type Status = z.output<typeof statusSchema>;

/** `GET /v1/verification`. */
export type Verification = z.output<typeof verificationSchema>;

/** What operators hold or bound. */
export type Consumption = NonNullable<Status['consumption']>;

/** `GET /v1/lag`. */
export type Lag = z.output<typeof lagSchema>;

/** A partition, and the collector's offset in it. */
export type PartitionLag = Lag['partitions'][number];

/** `GET /v1/metrics/rates`. */
export type Rates = z.output<typeof handlingRates>;

/** An item of `GET /v1/metrics/products`. */
export type RankedProduct = z.output<typeof rankingPage>['items'][number];

/** `GET /v1/products/{productId}/inspection`. */
export type Inspection = z.output<typeof inspectionSchema>;

/** An item of `GET /v1/metrics/products/{productId}/history`. */
export type HistoryEvent = z.output<typeof historyPage>['items'][number];

/** An item of `GET /v1/metrics/products/{productId}/users`. */
export type ProductUser = z.output<typeof productUserPage>['items'][number];

/** `GET /v1/events/{eventId}`. */
export type EventJourney = z.output<typeof journeySchema>;

/** `GET /v1/search`. */
export type SearchResults = z.output<typeof searchResults>;

/** An item of `GET /v1/search`. */
export type SearchHit = SearchResults['items'][number];

/** An item of `GET /v1/orders`. */
export type ListedOrder = z.output<typeof listedOrder>;

/** `GET /v1/orders/{orderId}/timeline`. */
export type OrderTimeline = z.output<typeof orderTimeline>;

/** `POST /v1/orders/{orderId}/cancel`. */
export type CancelledOrder = z.output<typeof cancelledOrder> | z.output<typeof undecidedOrder>;

/** An item of `GET /v1/dead-letters`. */
export type DeadLetter = z.output<typeof deadLetterSchema>;

/** `GET /v1/dead-letters/{id}`. */
export type DeadLetterWithMessage = z.output<typeof deadLetterWithMessage>;

/** `POST /v1/dead-letters/{id}/redrive`. */
export type Redriven = z.output<typeof redriven>;

/** `GET /v1/dead-letters/groups`. */
export type DeadLetterGroups = z.output<typeof deadLetterGroups>;

/** An item of `GET /v1/dead-letters/groups`. */
export type DeadLetterGroup = DeadLetterGroups['items'][number];

/** `GET /v1/dead-letters/{id}/check`. */
export type CheckedDeadLetter = z.output<typeof checkedDeadLetter>;

/** `GET /v1/dead-letters/check`. */
export type CheckReport = z.output<typeof checkReport>;

/** `POST /v1/dead-letters/redrive`. */
export type RedrivenMany = z.output<typeof redrivenMany>;

/** `POST /v1/dead-letters/discard`. */
export type DiscardedMany = z.output<typeof discardedMany>;

/** A header of a message. */
export type Header = DeadLetterWithMessage['headers'][number];

/** Bytes of a message: as text where they are text, otherwise as base64. */
export type EncodedBytes = z.output<typeof encodedBytes>;

/** `POST /v1/demonstration/orders`. */
export type DemonstrationOrder = z.output<typeof demonstrationOrder>;

/** `POST /v1/demonstration/poison`. */
export type SentMessage = z.output<typeof sentMessage>;

/** `POST /v1/demonstration/redeliveries`. */
export type Redelivery = z.output<typeof redelivery>;
