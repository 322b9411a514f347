/** `npm run migrate`: brings the schemas and the topics up to date, then ends. */
import { readConfig } from '../platform/config';
import { createKafka } from '../platform/kafka';
import { createLogger } from '../platform/logger';
import { migrateDatabase, migrateTopics } from './migrate';

async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger('migrate', config.LOG_LEVEL);
  await migrateDatabase(config.DATABASE_URL, logger);
  await migrateTopics(createKafka(config, logger, { clientId: 'migrate' }), logger);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
