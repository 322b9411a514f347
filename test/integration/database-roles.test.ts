/**
 * Who may do what in PostgreSQL. Each threat is a compromised process: it knows its own user, and
 * the attacker gets only what that user may do.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client } from 'pg';
import { createCluster, findFreePorts, type Cluster } from '../../cluster/local-cluster';
import { createDevelopmentUsers } from '../../migrations/development-users';
import { migrateDatabase } from '../../migrations/migrate';
import { asDevelopmentUser, developmentUsers } from '../../platform/postgres/development-users';
import { createLogger } from '../../platform/observability/logger';
import type { ProcessKind } from '../../platform/observability/telemetry';
import { projections } from '../../projections';
import { runOpsHere } from '../../testkit/run-ops';
import { runToItsEnd } from '../../testkit/run-process';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const processNames: ProcessKind[] = ['api', 'bridge', 'worker:commerce', 'worker:collector'];
const logger = createLogger('test', 'fatal');
let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
  await createDevelopmentUsers(stack.config.DATABASE_URL, logger);
});

afterAll(() => stack.stop());

async function asUser<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** SQLSTATE of what a process's own user gets; undefined when it is let do it. */
function refusalOf(kind: ProcessKind, statement: string): Promise<string | undefined> {
  return asUser(asDevelopmentUser(stack.config.DATABASE_URL, kind), (client) =>
    client.query(statement).then(
      () => undefined,
      (error: { code: string }) => error.code,
    ),
  );
}

const insufficientPrivilege = '42501';

describe('refused is', () => {
  const threats: [threat: string, kind: ProcessKind, statement: string][] = [
    [
      'an API that sells what is not there',
      'api',
      'UPDATE commerce.products SET stock = stock + 100',
    ],
    ['an API that gives orders away', 'api', `UPDATE commerce.orders SET status = 'CONFIRMED'`],
    [
      'an API that forges an event on its way out',
      'api',
      `INSERT INTO commerce.outbox (event_id, topic, key, type, payload) VALUES ('x', 'x', 'x', 'x', '{}')`,
    ],
    ['an API that reads who likes what', 'api', 'SELECT * FROM commerce.product_likes'],
    [
      'an API that reads who likes a product',
      'api',
      'SELECT user_id FROM commerce.product_likes WHERE product_id = $$p$$',
    ],
    [
      'a collector worker that says that the figures add up',
      'worker:collector',
      `INSERT INTO collector.verifications (requested_by) VALUES ('x')`,
    ],
    [
      'an API that makes the figures better',
      'api',
      'UPDATE collector.product_metrics SET view_count = 9',
    ],
    [
      'an API that forgets what it has promised',
      'api',
      'DELETE FROM commerce.requested_cancellations',
    ],
    ['an API that hides a dead letter', 'api', 'DELETE FROM collector.dead_letters'],
    ['an API that hides who held what', 'api', 'DELETE FROM collector.consumption_holds'],
    [
      'a bridge that ends what an operator holds',
      'bridge',
      'UPDATE collector.consumption_holds SET released_at = now()',
    ],
    [
      'a shop worker that reads the collector',
      'worker:commerce',
      'SELECT * FROM collector.event_log',
    ],
    [
      'a shop worker that makes the figures better',
      'worker:commerce',
      'UPDATE collector.product_metrics SET sales_count = 9',
    ],
    [
      'a shop worker that reads the answers of other requests',
      'worker:commerce',
      'SELECT * FROM commerce.idempotency_keys',
    ],
    [
      'a shop worker that rewrites an event before it is sent',
      'worker:commerce',
      `UPDATE commerce.outbox SET payload = '{}'`,
    ],
    [
      'a shop worker that makes an event vanish before it is sent',
      'worker:commerce',
      'DELETE FROM commerce.outbox',
    ],
    [
      'a shop worker that forgets what it has refused',
      'worker:commerce',
      'DELETE FROM commerce.refusals',
    ],
    [
      'a collector worker that changes the stock',
      'worker:collector',
      'UPDATE commerce.products SET stock = 0',
    ],
    ['a collector worker that reads orders', 'worker:collector', 'SELECT * FROM commerce.orders'],
    [
      'a collector worker that rewrites the audit log',
      'worker:collector',
      `UPDATE collector.event_log SET payload = '{}'`,
    ],
    [
      'a collector worker that has an event counted twice',
      'worker:collector',
      'DELETE FROM collector.event_handled',
    ],
    [
      'a collector worker that has a receiver told again',
      'worker:collector',
      'DELETE FROM collector.notifications',
    ],
    ['a bridge that reads what was bought', 'bridge', 'SELECT payload FROM collector.event_log'],
    ['a bridge that reads dead letters', 'bridge', 'SELECT value FROM collector.dead_letters'],
    ['a bridge that reads the shop', 'bridge', 'SELECT * FROM commerce.products'],
    [
      'a bridge that says an event is handled',
      'bridge',
      `INSERT INTO collector.event_handled (event_id, workflow_id) VALUES ('x', 'x')`,
    ],
    ['a process that takes the role of another', 'bridge', 'SET ROLE commerce_shop'],
    ['a process that becomes the owner', 'api', 'SET SESSION AUTHORIZATION commerce'],
    ['a process that leaves a table behind', 'worker:commerce', 'CREATE TABLE commerce.mine ()'],
    ['a process that undoes a migration', 'worker:collector', 'DELETE FROM schema_migrations'],
    [
      'an old worker that lifts the fence of a projection',
      'worker:collector',
      'UPDATE collector.projections SET writers_from = 0',
    ],
  ];

  test.each(threats)('%s', async (_threat, kind, statement) => {
    expect(await refusalOf(kind, statement)).toBe(insufficientPrivilege);
  });

  test('nobody what they need: the same statement is let through by its own role', async () => {
    expect(await refusalOf('worker:commerce', 'UPDATE commerce.products SET stock = 0')).toBe(
      undefined,
    );
    expect(await refusalOf('api', 'SELECT * FROM collector.event_log')).toBe(undefined);
  });
});

// Written out, so that a table or a right more has to be thought about here.
test('every role has exactly these rights, and nobody else has any', async () => {
  const { rows } = await stack.pool.query<{ role: string; table: string; rights: string }>(`
    SELECT role, nspname || '.' || relname AS table, rights FROM (
      SELECT coalesce(rolname, 'PUBLIC') AS role, relnamespace, relname,
        string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights
      FROM pg_class, aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
      WHERE grantee <> relowner GROUP BY 1, 2, 3
      UNION ALL
      SELECT coalesce(rolname, 'PUBLIC'), relnamespace, relname,
        privilege_type || '(' || string_agg(attname, ' ' ORDER BY attname) || ')'
      FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl)
        LEFT JOIN pg_roles ON pg_roles.oid = grantee
      GROUP BY 1, 2, 3, privilege_type
    ) AS granted JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname IN ('commerce', 'collector')`);
  const granted = [...new Set(rows.map(({ role }) => role))].sort().map((role) => [
    role,
    rows
      .filter((row) => row.role === role)
      .map(({ table, rights }) => `${table}: ${rights}`)
      .sort(),
  ]);

  const tables = projections.map(({ table }) => table);
  const readsCollector = [
    'bridges',
    'consumption_holds',
    'dead_letters',
    'event_effects',
    'event_handled',
    'event_log',
    'event_repeats',
    'notifications',
    'partition_progress',
    'projections',
    'replays',
    ...tables,
    'vanished_offsets',
    'verifications',
  ]
    .map((table) => `collector.${table}: SELECT`)
    .sort();
  expect(Object.fromEntries(granted)).toEqual({
    commerce_api: [
      'collector.consumption_holds: INSERT(held_by messages_per_second partition reason topic)',
      'collector.consumption_holds: UPDATE(release_reason released_at released_by)',
      'collector.replays: INSERT(first_offset last_offset next_offset partition reason requested_by topic)',
      'collector.verifications: DELETE INSERT UPDATE',
      'commerce.idempotency_keys: DELETE INSERT SELECT UPDATE',
      'commerce.order_items: SELECT',
      'commerce.orders: SELECT',
      'commerce.outbox: SELECT(created_at event_id key left_behind_at offset partition payload published_at sequence topic type)',
      'commerce.payments: SELECT',
      'commerce.product_likes: SELECT(product_id)',
      'commerce.products: SELECT',
      'commerce.refusals: SELECT(command_id)',
      'commerce.requested_cancellations: INSERT(order_id reason)',
      'commerce.stock_adjustments: SELECT(adjustment_id created_at delta event_id order_id previous_stock product_id reason stock version)',
    ],
    commerce_bridge: [
      'collector.bridges: DELETE INSERT SELECT UPDATE',
      'collector.consumption_holds: SELECT',
      'collector.dead_letters: SELECT(event_id workflow_id)',
      'collector.event_handled: SELECT(event_id)',
      'collector.event_log: SELECT(event_id offset partition topic)',
      'collector.event_repeats: INSERT SELECT UPDATE',
      'collector.replays: SELECT',
      'collector.replays: UPDATE(finished_at leased_until next_offset)',
    ],
    commerce_collector: [
      'collector.bridges: DELETE INSERT SELECT UPDATE',
      'collector.consumption_holds: SELECT',
      'collector.dead_letters: INSERT SELECT UPDATE',
      'collector.event_effects: SELECT',
      'collector.event_handled: INSERT SELECT',
      'collector.event_log: INSERT SELECT',
      'collector.event_repeats: INSERT SELECT UPDATE',
      'collector.notifications: INSERT SELECT',
      'collector.notifications: UPDATE(delivered_at detail status)',
      'collector.partition_progress: INSERT SELECT UPDATE',
      'collector.projections: SELECT',
      'collector.replays: INSERT SELECT',
      'collector.replays: UPDATE(confirmed_at finished_at leased_until next_offset)',
      'collector.vanished_offsets: DELETE INSERT SELECT',
      'collector.verifications: SELECT(finished_at outcome)',
      ...tables.map((table) => `collector.${table}: INSERT SELECT UPDATE`),
    ].sort(),
    commerce_collector_reader: readsCollector,
    commerce_operator: [
      'collector.consumption_holds: INSERT(held_by messages_per_second partition reason topic)',
      'collector.consumption_holds: UPDATE(release_reason released_at released_by)',
      'collector.event_handled: MAINTAIN',
      'collector.projections: UPDATE(built_at writers_from)',
      'collector.replays: INSERT(first_offset last_offset next_offset partition reason requested_by topic)',
      'collector.verifications: DELETE INSERT UPDATE',
      ...tables.map((table) => `collector.${table}: DELETE INSERT UPDATE`),
      'commerce.order_items: SELECT',
      'commerce.orders: SELECT',
      'commerce.outbox: SELECT',
      'commerce.payments: SELECT',
      'commerce.product_likes: SELECT',
      'commerce.products: SELECT',
      'commerce.stock_adjustments: SELECT',
    ].sort(),
    commerce_shop: [
      'commerce.order_items: INSERT SELECT',
      'commerce.orders: INSERT SELECT UPDATE',
      'commerce.outbox: INSERT SELECT',
      'commerce.outbox: UPDATE(delivered_at left_behind_at offset partition published_at)',
      'commerce.payments: INSERT SELECT UPDATE',
      'commerce.product_likes: DELETE INSERT SELECT',
      'commerce.products: INSERT SELECT UPDATE',
      'commerce.refusals: INSERT SELECT',
      'commerce.requested_cancellations: DELETE SELECT',
      'commerce.stock_adjustments: INSERT SELECT',
    ],
  });
});

test('a table that comes later can be read by those who read the collector, and by nobody else', async () => {
  await stack.pool.query('CREATE TABLE collector.later (); CREATE TABLE commerce.later ()');
  try {
    expect(await refusalOf('api', 'SELECT FROM collector.later')).toBe(undefined);
    expect(await refusalOf('worker:collector', 'SELECT FROM collector.later')).toBe(
      insufficientPrivilege,
    );
    expect(await refusalOf('api', 'SELECT FROM commerce.later')).toBe(insufficientPrivilege);
  } finally {
    await stack.pool.query('DROP TABLE collector.later; DROP TABLE commerce.later');
  }
});

describe('the processes', () => {
  /** An order, all the way into the metrics. */
  async function buyOne(): Promise<void> {
    const product = await stack.call('POST', '/v1/products', {
      body: { name: 'a lamp', price: 1_000, stock: 3 },
    });
    const { productId } = product.body as { productId: string };
    const order = await stack.call('POST', '/v1/orders', {
      as: 'shopper',
      userId: 'user-1',
      idempotencyKey: randomUUID(),
      body: { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' },
    });
    expect(order.status).toBe(201);
    await until('the order is counted', async () => {
      const route = `/v1/metrics/products/${productId}`;
      return (await stack.call('GET', route)).body.salesCount === 1;
    });
  }

  test('given the owner, each works in its role all the same', async () => {
    const written = ['commerce.idempotency_keys', 'commerce.orders', 'collector.event_log'];
    for (const table of written) {
      await stack.pool.query(`ALTER TABLE ${table} ADD COLUMN writer name DEFAULT current_user`);
    }
    await Promise.all(processNames.map((name) => stack.start(name)));

    await buyOne();

    const writers = await Promise.all(
      written.map(async (table) => {
        const { rows } = await stack.pool.query(`SELECT DISTINCT writer FROM ${table}`);
        return rows as unknown;
      }),
    );
    expect(writers).toEqual([
      [{ writer: 'commerce_api' }],
      [{ writer: 'commerce_shop' }],
      [{ writer: 'commerce_collector' }],
    ]);
    for (const table of written) {
      await stack.pool.query(`ALTER TABLE ${table} DROP COLUMN writer`);
    }
    const running = processNames.flatMap((name) => stack.running(name));
    await Promise.all(running.map((each) => each.end()));
  });

  test('given a user of its own each, all of it works, and the figures add up', async () => {
    await Promise.all(
      processNames.map((name) =>
        stack.start(name, { DATABASE_URL: asDevelopmentUser(stack.config.DATABASE_URL, name) }),
      ),
    );

    await buyOne();

    const { rows } = await stack.pool.query(`
      SELECT DISTINCT usename AS user, split_part(application_name, '/', 1) AS process
      FROM pg_stat_activity
      WHERE datname = current_database() AND application_name <> 'test' ORDER BY process`);
    expect(rows).toEqual([
      { process: 'api', user: developmentUsers.api.name },
      { process: 'bridge', user: developmentUsers.bridge.name },
      { process: 'worker-collector', user: developmentUsers['worker:collector'].name },
      { process: 'worker-commerce', user: developmentUsers['worker:commerce'].name },
      { process: 'worker-commerce-relay', user: developmentUsers['worker:commerce'].name },
    ]);
    await until('everything is handled', async () => {
      return (await runOpsHere(stack, 'verify', '--grace', '0')).exitCode === 0;
    });
    const rebuilt = await runOpsHere(stack, 'rebuild-metrics', '--yes');
    expect(rebuilt).toMatchObject({ exitCode: 0 });
  });
});

test('a process whose user is a member of another role ends, and says what to grant', async () => {
  const url = asDevelopmentUser(stack.config.DATABASE_URL, 'api');

  const ended = await runToItsEnd('bridge/main.ts', { ...stack.environment, DATABASE_URL: url });

  expect(ended).toMatchObject({
    exitCode: 1,
    output: expect.stringContaining('GRANT commerce_bridge TO the user'),
  });
});

describe('on a server without the roles', () => {
  let cluster: Cluster;
  const urlOf = (user: string, database: string): string =>
    `postgres://${user}:${user}@127.0.0.1:${cluster.ports.postgres}/${database}`;

  beforeAll(async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'database-roles-test-'));
    cluster = createCluster({ directory, ports: await findFreePorts() });
    await cluster.start('postgres');
    await asUser(urlOf('commerce', 'commerce'), async (owner) => {
      await owner.query(`CREATE ROLE weak LOGIN PASSWORD 'weak'`);
      await owner.query(`CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker'`);
      for (const name of ['weak', 'maker'])
        await owner.query(`CREATE DATABASE ${name} OWNER ${name}`);
      for (const name of ['one', 'two', 'three', 'four'])
        await owner.query(`CREATE DATABASE ${name}`);
    });
  });

  afterAll(async () => {
    await cluster.reset();
    await rm(cluster.directory, { recursive: true, force: true });
  });

  test('a user who may not make them is told what to have run, and that is enough', async () => {
    const problem = await migrateDatabase(urlOf('weak', 'weak'), logger).then(
      () => undefined,
      (error: { code: string; message: string }) => error,
    );

    expect(problem).toMatchObject({ code: insufficientPrivilege });
    const remedy = /migrate again: (.*)$/s.exec(problem!.message)![1]!;
    await asUser(urlOf('commerce', 'commerce'), (owner) => owner.query(remedy));
    await migrateDatabase(urlOf('weak', 'weak'), logger);
    await asUser(urlOf('weak', 'weak'), (user) => user.query('SET ROLE commerce_shop'));
  });

  test('a user who may is given them, and can work as each', async () => {
    await forgetRoles('weak');

    await migrateDatabase(urlOf('maker', 'maker'), logger);

    await asUser(urlOf('maker', 'maker'), async (user) => {
      for (const role of roles) await user.query(`SET ROLE ${role}`);
    });
  });

  test('databases that are migrated at the same time all get them', async () => {
    await forgetRoles('maker');
    const databases = ['one', 'two', 'three', 'four'];

    await Promise.all(databases.map((name) => migrateDatabase(urlOf('commerce', name), logger)));

    for (const name of databases) {
      await asUser(urlOf('commerce', name), (owner) =>
        owner.query('SET ROLE commerce_api; SELECT FROM collector.event_log'),
      );
    }
  });

  const roles = [
    ...['commerce_api', 'commerce_bridge', 'commerce_collector', 'commerce_operator'],
    'commerce_shop',
  ];

  /** @param database the only one in which they have rights */
  function forgetRoles(database: string): Promise<unknown> {
    const all = [...roles, 'commerce_collector_reader'].join(', ');
    return asUser(urlOf('commerce', database), (owner) =>
      owner.query(`DROP OWNED BY ${all}; DROP ROLE ${all}`),
    );
  }
});
