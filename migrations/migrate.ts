/** Brings PostgreSQL's schemas and Kafka's topics to the state that this version expects. */
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import type { Kafka } from 'kafkajs';
import { Client } from 'pg';
import { deadLetterTopicOf, eventTopics, partitionsPerTopic } from '../events/topics';
import { createTopics } from '../platform/kafka/client';
import type { Logger } from '../platform/observability/logger';

/**
 * Runs the migrations that have not run yet, in order, each in a transaction. Several at once take
 * turns, and all but the first find nothing left to do.
 *
 * @param databaseUrl whose user may create schemas
 */
export async function migrateDatabase(databaseUrl: string, logger: Logger): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  // A connection that breaks fails the statement under way, which tells of it.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await takeTurn(client, logger);
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
  } finally {
    // The turn ends with the connection.
    await client.end();
  }
}

// node-pg-migrate does not wait for its lock, but fails. A connection that has it gets it once more.
async function takeTurn(client: Client, logger: Logger): Promise<void> {
  const { rows } = await client.query<{ taken: boolean }>(
    `SELECT pg_try_advisory_lock(${PG_MIGRATE_LOCK_ID}) AS taken`,
  );
  if (rows[0]!.taken) return;
  logger.info('another process migrates the database; waiting until it has ended');
  await client.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
}

/** Creates the topics of events and of dead letters that do not exist yet. */
export async function migrateTopics(kafka: Kafka, logger: Logger): Promise<void> {
  await createTopics(kafka, eventTopics.flatMap(topicAndItsDeadLetters));
  logger.info({ topics: eventTopics }, 'topics are there');
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
        // Parked messages wait for a person. The table is the truth, but its copy should not vanish first.
        { name: 'retention.ms', value: '-1' },
      ],
    },
  ];
}

type TopicConfig = Parameters<typeof createTopics>[1][number];
