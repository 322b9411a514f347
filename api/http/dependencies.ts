/** The dependencies of the API, and the services of its routes. */
import type { Client } from '@temporalio/client';
import type { Pool } from 'pg';
import type { Config } from '../../platform/process/config';
import type { Spool } from '../../platform/disk/spool';
import type { KafkaClient } from '../../platform/kafka/client';
import type { KafkaSender } from '../../platform/kafka/sender';
import type { Logger } from '../../platform/observability/logger';
import type { TopicWatch } from '../../platform/kafka/topic-watch';
import type { ConsumptionOperations } from '../../operations/consumption';
import type { ReplayOperations } from '../../operations/replays';
import type { DeadLetterOperations } from '../../operations/dead-letters';
import type { EventJourneys } from '../../operations/event-journey';
import type { OrderOperations } from '../../operations/orders';
import type { EventReads } from '../events/reads';
import type { HandlingRateReads } from '../handling-rates/reads';
import type { ProductMetricsReads } from '../product-metrics/reads';
import type { Commands } from '../commands/temporal-commands';
import type { Database } from './database';
import type { Demonstration } from '../demonstration/scenarios';
import type { HandledEventFeed } from '../stream/handled-event-feed';
import type { HandledEventReads } from '../stream/handled-events';
import type { OrderReads } from '../orders/reads';
import type { OrderBound } from '../orders/undecided-orders';
import type { PipelineState } from '../../operations/pipeline-state';
import type { ProductDetails } from '../products/details';
import type { ProductInspection } from '../product-inspection/reads';
import type { Search } from '../search/reads';
import type { VerificationRuns } from '../../operations/verification-runs';
import type { SystemStatus } from '../../operations/status/status';
import type { ViewPublisher } from '../products/view-publisher';
import type { RedisConnection } from '../../platform/redis/client';

/** The API's connections and configuration. The caller closes them. */
export interface ApiDependencies {
  readonly config: Config;
  readonly logger: Logger;
  readonly pool: Pool;
  readonly redis: RedisConnection;
  readonly kafka: KafkaClient;
  readonly sender: KafkaSender;
  /** Keeps views until Kafka has them. */
  readonly spool: Spool;
  readonly temporal: Client;
  /** Watches the event topics and the brokers. */
  readonly topics: TopicWatch;
}

/** The services of the routes. */
export interface Services {
  readonly config: Config;
  readonly database: Database;
  readonly commands: Commands;
  readonly consumption: ConsumptionOperations;
  readonly deadLetters: DeadLetterOperations;
  /** Undefined where a demonstration is not allowed. */
  readonly demonstration: Demonstration | undefined;
  readonly eventJourneys: EventJourneys;
  readonly eventReads: EventReads;
  readonly handledEvents: HandledEventFeed;
  readonly handledEventReads: HandledEventReads;
  readonly handlingRateReads: HandlingRateReads;
  readonly orderBound: OrderBound;
  /** For operators; shoppers read and cancel by `orderReads` and `commands`. */
  readonly orderOperations: OrderOperations;
  readonly orderReads: OrderReads;
  /** For changes, which must not queue behind reads. */
  readonly orderReadsOfChanges: OrderReads;
  readonly pipelineState: PipelineState;
  readonly productDetails: ProductDetails;
  readonly productInspection: ProductInspection;
  readonly productMetricsReads: ProductMetricsReads;
  readonly replays: ReplayOperations;
  readonly search: Search;
  readonly systemStatus: SystemStatus;
  readonly verificationRuns: VerificationRuns;
  readonly views: ViewPublisher;
}
