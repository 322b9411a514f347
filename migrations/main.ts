/** `npm run migrate`: brings the schemas, the topics and the search attributes up to date, then ends. */
import { assertNotRejected } from '../platform/dependencies/startup-checks';
import { readConfig, type Config } from '../platform/process/config';
import { warnOfMisspeltVariables } from '../platform/process/misspelt-variables';
import { runProgram } from '../platform/process/program';
import { serversOf } from '../platform/process/servers';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  temporalStartupCheck,
} from '../platform/dependencies/servers';
import { createKafka, type KafkaClient } from '../platform/kafka/client';
import { createLogger } from '../platform/observability/logger';
import { createPool } from '../platform/postgres/pool';
import { createTemporalConnection } from '../platform/temporal/client';
import type { Logger } from '../platform/observability/logger';
import { createDevelopmentUsers } from './development-users';
import { migrateDatabase, migrateTopics } from './migrate';
import { migrateSearchAttributes } from './search-attributes';

async function main(): Promise<void> {
  const config = readConfig(process.env, serversOf('migrate'));
  const logger = createLogger('migrate', config.LOG_LEVEL);
  for (const warning of warnOfMisspeltVariables()) logger.warn(warning);
  const kafka = createKafka(config, logger, { clientId: 'migrate' });
  await assertCredentialsAccepted(config, kafka, logger);
  await migrateDatabase(config.DATABASE_URL, logger);
  if (config.DATABASE_DEVELOPMENT_USERS) await createDevelopmentUsers(config.DATABASE_URL, logger);
  await migrateTopics(kafka, logger, {
    replicas: config.KAFKA_TOPIC_REPLICAS,
    minInSyncReplicas: config.KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS,
    knownBrokers: config.KAFKA_BROKERS.length,
  });
  const temporal = createTemporalConnection(config);
  try {
    await migrateSearchAttributes(temporal, config.TEMPORAL_NAMESPACE, logger);
  } finally {
    await temporal.close();
  }
}

/** Before any change. @throws ConnectionRejectedError */
async function assertCredentialsAccepted(
  config: Config,
  kafka: KafkaClient,
  logger: Logger,
): Promise<void> {
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'migrate' });
  try {
    await assertNotRejected([
      postgresStartupCheck(pool),
      kafkaStartupCheck(kafka),
      temporalStartupCheck(config),
    ]);
  } finally {
    await pool.end();
  }
}

runProgram(main, {
  explain: (error) => (error instanceof Error ? error.message : error),
});
