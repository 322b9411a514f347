/** Dependencies of the commands: lazy connections. */
import { userInfo } from 'node:os';
import type { Client } from '@temporalio/client';
import type { Pool } from 'pg';
import { createConsumptionOperations, type ConsumptionOperations } from '../consumption';
import { createDeadLetterOperations, type DeadLetterOperations } from '../dead-letters';
import { createEventJourneys, type EventJourneys } from '../event-journey';
import { createOrderOperations, type OrderOperations } from '../orders';
import { createReplayOperations, type ReplayOperations } from '../replays';
import { eventTopics } from '../../events/topics';
import { readConfig, type Config } from '../../platform/process/config';
import { createKafka, type KafkaClient } from '../../platform/kafka/client';
import { readGroupProgress } from '../../platform/kafka/consumer-lag';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { withTimeout } from '../../platform/process/waiting';
import { createTemporalClient } from '../../platform/temporal/client';
import type { SystemState } from '../status/status';
import type { Output } from './output';
import { readSystemState } from './system-state';

/** Dependencies of a command. */
export interface Operator {
  readonly config: Config;
  readonly output: Output;
  pool(): Pool;
  /** As the user of DATABASE_URL itself, without the operator's role. */
  owner(): Pool;
  kafka(): KafkaClient;
  consumption(): ConsumptionOperations;
  deadLetters(): DeadLetterOperations;
  eventJourneys(): EventJourneys;
  orders(): OrderOperations;
  replays(): ReplayOperations;
  /** The state of the system, measured now. Never throws. */
  systemState(): Promise<SystemState>;
  /** The current user, kept on record. */
  name(): string;
  /** Closes the open connections. */
  close(): Promise<void>;
}

/**
 * A command's own servers have to be configured, and no others: what asks for a server throws the same
 * error for its settings.
 *
 * @throws ConfigurationError
 */
export function createOperator(
  output: Output,
  environment: NodeJS.ProcessEnv = process.env,
): Operator {
  const config = readConfig(environment, []);
  // Errors are thrown and printed once; log lines would mix with the output.
  const logger = createLogger('ops', 'silent');
  let pool: Pool | undefined;
  let owner: Pool | undefined;
  let temporal: Client | undefined;
  const getPool = (): Pool =>
    (pool ??= createPool(config.DATABASE_URL, logger, {
      applicationName: 'ops',
      role: 'commerce_operator',
      maxConnections: 4,
      // No timeout: verify and rebuild read everything, and the operator can interrupt them.
      statementTimeoutMs: 0,
    }));
  const getTemporal = (): Client =>
    (temporal ??= createTemporalClient(readConfig(environment, ['temporal'])));
  const kafka = (): KafkaClient =>
    createKafka(readConfig(environment, ['kafka']), logger, { clientId: 'ops' });
  return {
    config,
    output,
    pool: getPool,
    owner: () =>
      (owner ??= createPool(config.DATABASE_URL, logger, {
        applicationName: 'ops',
        maxConnections: 1,
        statementTimeoutMs: 0,
      })),
    kafka,
    consumption: () => createConsumptionOperations(getPool()),
    deadLetters: () => createDeadLetterOperations({ database: getPool(), temporal: getTemporal() }),
    eventJourneys: () =>
      createEventJourneys({
        database: getPool(),
        temporal: getTemporal(),
        async readProgress() {
          const reading = readGroupProgress(kafka(), config.BRIDGE_GROUP_ID, eventTopics);
          return (await withTimeout(reading, kafkaTimeoutMs)).partitions;
        },
      }),
    orders: () => createOrderOperations({ database: getPool(), temporal: getTemporal() }),
    replays: () => createReplayOperations({ database: getPool(), kafka: kafka() }),
    systemState: () =>
      readSystemState({
        config,
        pool: getPool(),
        kafka: kafka(),
        temporal: getTemporal(),
        logger,
      }),
    name: () => userInfo().username,
    async close() {
      await Promise.all([pool?.end(), owner?.end(), temporal?.connection.close()]);
    },
  };
}

const kafkaTimeoutMs = 5_000;
