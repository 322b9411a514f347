/** `npm run migrate`: brings the schemas, the topics and the search attributes up to date, then ends. */
import { Connection } from '@temporalio/client';
import { readConfig } from '../platform/config';
import { createKafka } from '../platform/kafka';
import { createLogger } from '../platform/logger';
import { temporalConnectionOptions } from '../platform/temporal';
import { migrateDatabase, migrateTopics } from './migrate';
import { migrateSearchAttributes } from './search-attributes';

async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger('migrate', config.LOG_LEVEL);
  await migrateDatabase(config.DATABASE_URL, logger);
  await migrateTopics(createKafka(config, logger, { clientId: 'migrate' }), logger);
  const temporal = Connection.lazy(temporalConnectionOptions(config));
  try {
    await migrateSearchAttributes(temporal, config.TEMPORAL_NAMESPACE, logger);
  } finally {
    await temporal.close();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
