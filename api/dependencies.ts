/** What the API is given to work with, and what its routes get of it. */
import type { Client } from '@temporalio/client';
import type { Redis } from 'ioredis';
import type { Pool } from 'pg';
import type { Config } from '../platform/config';
import type { KafkaSender } from '../platform/kafka-sender';
import type { Logger } from '../platform/logger';
import type { DeadLetterOperations } from '../operations/dead-letters';
import type { CollectorReads } from './collector-reads';
import type { Commands } from './commands';
import type { Database } from './database';
import type { OrderReads } from './order-reads';
import type { ProductDetails } from './product-details';
import type { ViewPublisher } from './view-publisher';

/** The API's connections and configuration. Whoever makes them closes them. */
export interface ApiDependencies {
  readonly config: Pick<Config, 'API_KEYS'>;
  readonly logger: Logger;
  readonly pool: Pool;
  readonly redis: Redis;
  readonly sender: KafkaSender;
  readonly temporal: Client;
}

/** What routes work with. */
export interface Services {
  readonly database: Database;
  readonly commands: Commands;
  readonly collectorReads: CollectorReads;
  readonly deadLetters: DeadLetterOperations;
  readonly orderReads: OrderReads;
  readonly productDetails: ProductDetails;
  readonly views: ViewPublisher;
}
