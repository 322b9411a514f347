/** Migrating on real servers, as it is done when several machines start at once. */
import { randomUUID } from 'node:crypto';
import { PG_MIGRATE_LOCK_ID } from 'node-pg-migrate';
import type { Pool } from 'pg';
import { createCluster } from '../../cluster/local-cluster';
import { deadLetterTopicOf, eventTopics } from '../../events/topics';
import { readConfig } from '../../platform/process/config';
import { createKafka } from '../../platform/kafka/client';
import { kafkajsOf } from '../../platform/kafka/kafkajs';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { createTemporalClient } from '../../platform/temporal/client';
import { migrateDatabase } from '../../migrations/migrate';
import { runToItsEnd } from '../../testkit/run-process';
import { until } from '../../testkit/until';

const config = readConfig({ ...process.env, ...createCluster().environment });
const logger = createLogger('test', 'fatal');
let pool: Pool;
let kafka: ReturnType<typeof kafkajsOf>;

beforeAll(() => {
  pool = createPool(config.DATABASE_URL, logger, { applicationName: 'test' });
  kafka = kafkajsOf(createKafka(config, logger, { clientId: 'test' }));
});

afterAll(() => pool.end());

/** An unmigrated database. @returns its URL */
async function makeEmptyDatabase(name = inventName()): Promise<string> {
  await pool.query(`CREATE DATABASE ${name}`);
  const url = new URL(config.DATABASE_URL);
  url.pathname = `/${name}`;
  return url.href;
}

function inventName(): string {
  return `test_${randomUUID().replaceAll('-', '').slice(0, 12)}`;
}

/** An unmigrated database, namespace and topics. */
async function makeEmptyServers(): Promise<Record<string, string>> {
  const name = inventName();
  const temporal = createTemporalClient(config);
  await temporal.workflowService.registerNamespace({
    namespace: name,
    workflowExecutionRetentionPeriod: { seconds: (24 * 3600) as never },
  });
  await temporal.connection.close();
  await forgetTopics();
  return {
    ...createCluster().environment,
    DATABASE_URL: await makeEmptyDatabase(name),
    TEMPORAL_NAMESPACE: name,
    DATABASE_DEVELOPMENT_USERS: 'true',
  };
}

async function forgetTopics(): Promise<void> {
  const ours = eventTopics.flatMap((topic) => [topic, deadLetterTopicOf(topic)]);
  const admin = kafka.admin();
  await admin.connect();
  try {
    const listed = async () => (await admin.listTopics()).filter((topic) => ours.includes(topic));
    const existing = await listed();
    if (existing.length > 0) await admin.deleteTopics({ topics: existing });
    await until('the topics are gone', async () => (await listed()).length === 0);
  } finally {
    await admin.disconnect();
  }
}

test.each([1, 2])(
  'several that migrate empty servers at once all end well (round %i)',
  async () => {
    const servers = await makeEmptyServers();
    const endings = await Promise.all(
      [1, 2, 3].map(() => runToItsEnd('migrations/main.ts', servers, 60_000)),
    );
    expect(endings).toEqual(endings.map(({ output }) => ({ exitCode: 0, output })));
    const applied = endings.map(({ output }) => /"applied":\[(.+?)\]/.test(output));
    expect(applied.filter(Boolean)).toHaveLength(1);
  },
  120_000,
);

test('one that comes while another migrates waits until that has ended', async () => {
  const servers = await makeEmptyServers();
  const database = createPool(servers['DATABASE_URL']!, logger, { applicationName: 'test' });
  // The other one, as node-pg-migrate by itself locks everybody out.
  const other = await database.connect();
  try {
    await other.query(`SELECT pg_advisory_lock(${PG_MIGRATE_LOCK_ID})`);
    let ended = false;
    const ending = runToItsEnd('migrations/main.ts', servers, 60_000);
    void ending.then(() => (ended = true));
    await until('it waits', async () => {
      if (ended) return true;
      const { rows } = await other.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rows.length === 1;
    });
    expect(ended).toBe(false);
    await other.query(`SELECT pg_advisory_unlock(${PG_MIGRATE_LOCK_ID})`);
    const { exitCode, output } = await ending;
    expect({ exitCode, output }).toEqual({ exitCode: 0, output });
    expect(output).toContain('another process migrates the database');
  } finally {
    other.release();
    await database.end();
  }
}, 120_000);

test('a migration gives way to those behind it, and goes on when the table is free', async () => {
  const url = await makeEmptyDatabase();
  const database = createPool(url, logger, { applicationName: 'test' });
  const [holder, behind] = [await database.connect(), await database.connect()];
  const migrate = (patienceMs: number) =>
    migrateDatabase(url, logger, { lockTimeoutMs: 200, patienceMs });
  try {
    // The table that every migration writes to.
    await holder.query(`
      CREATE TABLE schema_migrations (
        id serial PRIMARY KEY, name varchar(255) NOT NULL, run_on timestamp NOT NULL)`);
    const lock = 'BEGIN; LOCK TABLE schema_migrations IN SHARE MODE';
    await holder.query(lock);
    await expect(migrate(0)).rejects.toMatchObject({ code: 'MIGRATION_LOCKED' });
    const migrating = migrate(60_000);
    await until('it waits for the table', async () => {
      const { rows } = await database.query(
        "SELECT FROM pg_locks WHERE relation = 'schema_migrations'::regclass AND NOT granted",
      );
      return rows.length === 1;
    });
    await behind.query("SET statement_timeout = '5s'");
    await behind.query(lock);
    await Promise.all([holder, behind].map((each) => each.query('ROLLBACK')));
    await migrating;
    const { rows } = await database.query('SELECT FROM schema_migrations');
    expect(rows.length).toBeGreaterThan(20);
  } finally {
    holder.release();
    behind.release();
    await database.end();
  }
}, 120_000);

test('the log names all that was applied, in however many tries', async () => {
  const url = await makeEmptyDatabase();
  const database = createPool(url, logger, { applicationName: 'test' });
  const holder = await database.connect();
  try {
    // Until it is undone, the second migration waits for it; the first one is applied.
    await holder.query('BEGIN; CREATE SCHEMA collector');
    const lines: { msg: string; applied?: string[] }[] = [];
    const watched = createLogger('test', 'info', {
      write: (line) => void lines.push(JSON.parse(line) as (typeof lines)[number]),
    });
    const migrating = migrateDatabase(url, watched, { lockTimeoutMs: 200 });
    await until('it tries again', () => lines.some(({ msg }) => msg.includes('trying again')));
    await holder.query('ROLLBACK');
    await migrating;
    const applied = lines.flatMap((line) => line.applied ?? []);
    expect(applied.slice(0, 2)).toEqual(['0001_commerce', '0002_collector']);
  } finally {
    holder.release();
    await database.end();
  }
}, 120_000);
