/** Migrates PostgreSQL's schemas and Kafka's topics to this version. */
import { PG_MIGRATE_LOCK_ID, runner } from 'node-pg-migrate';
import { DatabaseError, type Client } from 'pg';
import { deadLetterTopicOf, eventTopics, partitionsPerTopic } from '../events/topics';
import {
  createTopics,
  type KafkaClient,
  type NewTopic,
  type TopicReplication,
} from '../platform/kafka/client';
import { createClient } from '../platform/postgres/hosts';
import { pause } from '../platform/process/waiting';
import { readUnbuilt } from '../projections/state';
import type { Logger } from '../platform/observability/logger';

/** Options of a migration. */
export interface MigrationOptions {
  /** How long a statement waits for the lock of a table, in ms. All who come behind it wait as long. */
  readonly lockTimeoutMs?: number;
  /** For how long a migration is begun again whose lock was not to be had, in ms. */
  readonly patienceMs?: number;
}

/** A migration cannot have the lock of a table, since another transaction has held it all the time. */
class MigrationLockedError extends Error {
  override readonly name = 'MigrationLockedError';
  readonly code = 'MIGRATION_LOCKED';

  constructor(patienceMs: number, cause: unknown) {
    super(
      `Other transactions hold a table that the next migration changes; gave up after ${patienceMs / 1_000} s. ` +
        'Those that are complete stay, the others have changed nothing. Find who holds it by ' +
        "SELECT pid, xact_start, query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start, " +
        'end it or wait for its end, and migrate again.',
      { cause },
    );
  }
}

/**
 * Runs the pending migrations in order, each in a transaction. Concurrent calls are serialised by a
 * lock. A migration that would wait long for a table gives way to those behind it, and is begun again.
 *
 * @param databaseUrl whose user may create schemas
 * @throws MigrationLockedError when it could not begin in time
 */
export async function migrateDatabase(
  databaseUrl: string,
  logger: Logger,
  { lockTimeoutMs = 2_000, patienceMs = 120_000 }: MigrationOptions = {},
): Promise<void> {
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    await acquireLock(client, logger);
    // Not for the lock above, which another migration may hold for as long as it needs.
    await client.query(`SET lock_timeout = ${lockTimeoutMs}`);
    const applied = await runPending(client, logger, patienceMs);
    logger.info({ applied }, 'database schemas are up to date');
    await reportUnbuilt(client, logger);
  } finally {
    // The lock ends with the connection.
    await client.end();
  }
}

/** @returns the names of those that it has applied, in however many tries */
async function runPending(client: Client, logger: Logger, patienceMs: number): Promise<string[]> {
  let before: readonly string[] | undefined;
  const giveUpAt = Date.now() + patienceMs;
  for (;;) {
    try {
      before ??= await readApplied(client);
      await run(client, logger);
      return (await readApplied(client)).filter((name) => !before!.includes(name));
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      // node-pg-migrate leaves the transaction of a failed migration open, with all the locks that it has.
      await client.query('ROLLBACK');
      if (Date.now() >= giveUpAt) throw new MigrationLockedError(patienceMs, error);
      logger.warn('other transactions hold a table that the next migration changes; trying again');
      await pause(retryPauseMs);
    }
  }
}

/** For those that wait behind a migration to go on, in ms. */
const retryPauseMs = 1_000;

async function run(client: Client, logger: Logger): Promise<void> {
  await runner({
    dbClient: client,
    dir: __dirname,
    ignorePattern: '.*\\.(ts|js|map)',
    direction: 'up',
    migrationsTable: 'schema_migrations',
    log: (message) => {
      logger.debug(message);
    },
  });
}

/** The migrations that the database has had, in their order. */
async function readApplied(client: Client): Promise<string[]> {
  const { rows: tables } = await client.query(
    "SELECT WHERE to_regclass('public.schema_migrations') IS NOT NULL",
  );
  if (tables.length === 0) return [];
  const { rows } = await client.query<{ name: string }>(
    'SELECT name FROM public.schema_migrations ORDER BY id',
  );
  return rows.map(({ name }) => name);
}

// SQLSTATE lock_not_available.
function isLockTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '55P03';
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
  kafka: KafkaClient,
  logger: Logger,
  replication: TopicReplication = {},
): Promise<void> {
  await createTopics(kafka, eventTopics.flatMap(topicAndItsDeadLetters), replication);
  logger.info({ topics: eventTopics }, 'topics are up to date');
}

function topicAndItsDeadLetters(topic: string): NewTopic[] {
  return [
    { topic, partitions: partitionsPerTopic },
    {
      topic: deadLetterTopicOf(topic),
      partitions: partitionsPerTopic,
      settings: {
        // A copy carries headers about the original: what just fitted there must still fit here.
        'max.message.bytes': String(2 * 1024 * 1024),
        // Parked messages wait for an operator: no retention, so that the copy outlives the row.
        'retention.ms': '-1',
      },
    },
  ];
}
