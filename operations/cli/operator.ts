/** What commands work with: connections that are made when they are first asked for. */
import { userInfo } from 'node:os';
import type { Client } from '@temporalio/client';
import type { Kafka } from 'kafkajs';
import type { Pool } from 'pg';
import { createDeadLetterOperations, type DeadLetterOperations } from '../dead-letters';
import { readConfig, type Config } from '../../platform/process/config';
import { createKafka } from '../../platform/kafka/client';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { createTemporalClient } from '../../platform/temporal/client';
import type { Output } from './output';

/** Everything that a command may need. */
export interface Operator {
  readonly config: Config;
  readonly output: Output;
  pool(): Pool;
  kafka(): Kafka;
  deadLetters(): DeadLetterOperations;
  /** Who runs this: the name that stays on record. */
  name(): string;
  /** Closes what was opened. */
  close(): Promise<void>;
}

/** @throws ConfigurationError */
export function createOperator(output: Output): Operator {
  const config = readConfig();
  // What goes wrong is thrown and told once; log lines would get into the output.
  const logger = createLogger('ops', 'silent');
  let pool: Pool | undefined;
  let temporal: Client | undefined;
  const getPool = (): Pool =>
    (pool ??= createPool(config.DATABASE_URL, logger, {
      applicationName: 'ops',
      role: 'commerce_operator',
      maxConnections: 4,
      // Verifying and rebuilding read everything: whoever started them can end them.
      statementTimeoutMs: 0,
    }));
  return {
    config,
    output,
    pool: getPool,
    kafka: () => createKafka(config, logger, { clientId: 'ops' }),
    deadLetters() {
      temporal ??= createTemporalClient(config);
      return createDeadLetterOperations({ database: getPool(), temporal });
    },
    name: () => userInfo().username,
    async close() {
      await Promise.all([pool?.end(), temporal?.connection.close()]);
    },
  };
}
