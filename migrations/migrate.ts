/** Migrates PostgreSQL's schemas and Kafka's topics to this version. */
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import type { Kafka } from 'kafkajs';
import type { Client } from 'pg';
import { deadLetterTopicOf, eventTopics, partitionsPerTopic } from '../events/topics';
import { createTopics, type TopicReplication } from '../platform/kafka/client';
import { createClient } from '../platform/postgres/hosts';
import { readUnbuilt } from '../projections/state';
import type { Logger } from '../platform/observability/logger';

/**
 * Runs the pending migrations in order, each in a transaction. Concurrent calls are serialised by a
 * lock.
 *
 * @param databaseUrl whose user may create schemas
 */
export async function migrateDatabase(databaseUrl: string, logger: Logger): Promise<void> {
  const client = createClient(databaseUrl);
  // A broken connection fails the running statement, which reports it.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await acquireLock(client, logger);
    const applied = await runner({
      dbClient: client,
      dir: __dirname,
      ignorePattern: '.*\\.(ts|js|map)',
      direction: 'up',
      migrationsTable: 'schema_migrations',
      log: (message) => {
        logger.debug(message);
      },
    });
    logger.info({ applied: applied.map(({ name }) => name) }, 'database schemas are up to date');
    await reportUnbuilt(client, logger);
  } finally {
    // The lock ends with the connection.
    await client.end();
  }
}

async function reportUnbuilt(client: Client, logger: Logger): Promise<void> {
  const unbuilt = await readUnbuilt(client);
  if (unbuilt.length === 0) return;
  logger.warn(
    { projections: unbuilt },
    'projections lack events handled before; when no older worker is left, run npm run ops -- rebuild-metrics',
  );
}

// node-pg-migrate fails instead of waiting for its lock. The lock is reentrant for this connection.
async function acquireLock(client: Client, logger: Logger): Promise<void> {
  const { rows } = await client.query<{ taken: boolean }>(
    `SELECT pg_try_advisory_lock(${PG_MIGRATE_LOCK_ID}) AS taken`,
  );
  if (rows[0]!.taken) return;
  logger.info('another process migrates the database; waiting for its lock');
  await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
}

/** Creates the topics of events and of dead letters that do not exist yet. */
export async function migrateTopics(
  kafka: Kafka,
  logger: Logger,
  replication: TopicReplication = {},
): Promise<void> {
  await createTopics(kafka, eventTopics.flatMap(topicAndItsDeadLetters), replication);
  logger.info({ topics: eventTopics }, 'topics are up to date');
}

function topicAndItsDeadLetters(topic: string): TopicConfig[] {
  return [
    { topic, numPartitions: partitionsPerTopic },
    {
      topic: deadLetterTopicOf(topic),
      numPartitions: partitionsPerTopic,
      configEntries: [
        // A copy carries headers about the original: what just fitted there must still fit here.
        { name: 'max.message.bytes', value: String(2 * 1024 * 1024) },
        // Parked messages wait for an operator: no retention, so that the copy outlives the row.
        { name: 'retention.ms', value: '-1' },
      ],
    },
  ];
}

type TopicConfig = Parameters<typeof createTopics>[1][number];
