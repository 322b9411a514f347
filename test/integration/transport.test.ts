/**
 * Servers that ask for TLS and a password, as managed ones do: the pipeline works with them, and where
 * a certificate or a password is wrong, a process ends at once and says what to change.
 */
import { randomUUID } from 'node:crypto';
import { createCluster } from '../../cluster/local-cluster';
import { migrateDatabase } from '../../migrations/migrate';
import {
  assertNotRejected,
  type StartupCheck,
  type RejectionCode,
} from '../../platform/dependencies/startup-checks';
import { readConfig } from '../../platform/process/config';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  redisStartupCheck,
  temporalStartupCheck,
} from '../../platform/dependencies/servers';
import { createKafka } from '../../platform/kafka/client';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { runOpsHere } from '../../testkit/run-ops';
import { runToItsEnd } from '../../testkit/run-process';
import { startSecuredServers, type SecuredServers } from '../../testkit/secured-servers';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

type Environment = Readonly<Record<string, string>>;

const logger = createLogger('test', 'fatal');
const processNames: ProcessName[] = ['api', 'bridge', 'worker:commerce', 'worker:collector'];
let servers: SecuredServers;

beforeAll(async () => {
  servers = await startSecuredServers(createCluster().environment.TEMPORAL_ADDRESS);
  await until('every server answers', () => withChecks({}, runAll), { timeoutMs: 90_000 });
  // So that there is a role for each process to take on.
  await migrateDatabase(servers.environment.DATABASE_URL, logger);
}, 120_000);

afterAll(() => servers?.stop());

/** What is changed in the right configuration. */
interface Mistake {
  readonly what: string;
  readonly change: () => Environment;
  readonly code: RejectionCode;
  /** What the message names. */
  readonly names: string;
}

const databaseUrl = (change: (url: URL) => void): Environment => {
  const url = new URL(servers.environment.DATABASE_URL);
  change(url);
  return { DATABASE_URL: url.href };
};

const mistakes: Mistake[] = [
  {
    what: "PostgreSQL's certificate is from somebody else",
    change: () =>
      databaseUrl(({ searchParams }) => searchParams.set('sslrootcert', servers.strangerFile)),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'DATABASE_URL',
  },
  {
    what: "PostgreSQL's certificate is for another host",
    change: () => databaseUrl((url) => (url.hostname = 'localhost')),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'DATABASE_URL',
  },
  {
    what: "PostgreSQL's password is wrong",
    change: () => databaseUrl((url) => (url.password = 'wrong')),
    code: 'CREDENTIALS_REJECTED',
    names: 'DATABASE_URL',
  },
  {
    what: 'PostgreSQL is spoken to without TLS',
    change: () => databaseUrl((url) => (url.search = '')),
    code: 'CREDENTIALS_REJECTED',
    names: 'sslmode',
  },
  {
    what: 'PostgreSQL has no such database',
    change: () => databaseUrl((url) => (url.pathname = '/nowhere')),
    code: 'DATABASE_MISSING',
    names: 'DATABASE_URL',
  },
  {
    what: "Redis' certificate is from somebody else",
    change: () => ({ REDIS_TLS_CA_FILE: servers.strangerFile }),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'REDIS_TLS_CA_FILE',
  },
  {
    what: "Redis' password is wrong",
    change: () => ({ REDIS_URL: servers.environment.REDIS_URL.replace('redis-password', 'wrong') }),
    code: 'CREDENTIALS_REJECTED',
    names: 'REDIS_URL',
  },
  {
    what: 'Redis is told no user',
    change: () => ({ REDIS_URL: servers.environment.REDIS_URL.replace(/\/\/.*@/, '//') }),
    code: 'CREDENTIALS_REJECTED',
    names: 'REDIS_URL',
  },
  {
    what: "Kafka's certificate is from somebody else",
    change: () => ({ KAFKA_SSL_CA_FILE: servers.strangerFile }),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'KAFKA_SSL_CA_FILE',
  },
  {
    what: "Kafka's password is wrong",
    change: () => ({ KAFKA_SASL_PASSWORD: 'wrong' }),
    code: 'CREDENTIALS_REJECTED',
    names: 'KAFKA_SASL_PASSWORD',
  },
  {
    what: 'Kafka does not have the mechanism',
    change: () => ({ KAFKA_SASL_MECHANISM: 'plain' }),
    code: 'CREDENTIALS_REJECTED',
    names: 'KAFKA_SASL_MECHANISM',
  },
  {
    what: "Temporal's certificate is from somebody else",
    change: () => ({ TEMPORAL_TLS_CA_FILE: servers.strangerFile }),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'TEMPORAL_TLS_CA_FILE',
  },
  {
    what: "Temporal's certificate is for another host",
    change: () => ({ TEMPORAL_TLS_SERVER_NAME: 'other.test' }),
    code: 'CERTIFICATE_NOT_TRUSTED',
    names: 'TEMPORAL_TLS_SERVER_NAME',
  },
  {
    what: "Temporal's key is wrong",
    change: () => ({ TEMPORAL_API_KEY: 'wrong' }),
    code: 'CREDENTIALS_REJECTED',
    names: 'TEMPORAL_API_KEY',
  },
];

async function withChecks<T>(
  environment: Environment,
  work: (checks: readonly StartupCheck[]) => Promise<T>,
): Promise<T> {
  const config = readConfig({ ...servers.environment, ...environment });
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'test' });
  try {
    return await work([
      postgresStartupCheck(pool),
      redisStartupCheck(config),
      kafkaStartupCheck(createKafka(config, logger, { clientId: 'test' })),
      temporalStartupCheck(config),
    ]);
  } finally {
    await pool.end();
  }
}

async function runAll(checks: readonly StartupCheck[]): Promise<true> {
  await Promise.all(checks.map((check) => check.run()));
  return true;
}

test.each(['scram-sha-256', 'scram-sha-512'])(
  'with %s every process connects',
  async (mechanism) => {
    await expect(withChecks({ KAFKA_SASL_MECHANISM: mechanism }, runAll)).resolves.toBe(true);
  },
);

test.each(mistakes)(
  '$what: that is said, and where to mend it',
  async ({ change, code, names }) => {
    const rejected = withChecks(change(), assertNotRejected);

    await expect(rejected).rejects.toMatchObject({
      name: 'ConnectionRejectedError',
      code,
      message: expect.stringContaining(names),
    });
  },
);

describe('a process ends by itself, with what is wrong in its last words', () => {
  const processes: [entry: string, mistake: string][] = [
    ['workers/collector.ts', "PostgreSQL's password is wrong"],
    ['api/main.ts', "Redis' password is wrong"],
    ['bridge/main.ts', "Kafka's certificate is from somebody else"],
    ['workers/commerce.ts', "Temporal's key is wrong"],
    ['migrations/main.ts', "Kafka's password is wrong"],
  ];

  test.each(processes)('%s: %s', async (entry, what) => {
    const { change, names } = mistakes.find((each) => each.what === what)!;
    const environment = { ...servers.environment, API_PORT: '0', ...change() };

    const { exitCode, output } = await runToItsEnd(entry, environment);

    expect(output).toContain(names);
    expect(exitCode).toBe(1);
    expect(output).not.toMatch(/password=|wrong@|temporal-key|kafka-password|redis-password/);
  });
});

describe('with the right ones', () => {
  let stack: Stack;

  beforeAll(async () => {
    const { environment, redisAdministratorUrl } = servers;
    stack = await createStack([], { ...environment, REDIS_URL: redisAdministratorUrl });
    stack.later['REDIS_URL'] = environment.REDIS_URL;
    await Promise.all(processNames.map((name) => stack.start(name)));
  });

  afterAll(() => stack?.stop());

  test('an order goes all the way, and the figures add up', async () => {
    const { body: product } = await stack.call('POST', '/v1/products', {
      body: { name: 'a lamp', price: 1_000, stock: 1 },
    });
    const detail = `/v1/products/${product.productId}`;
    const shopper = { as: 'shopper', userId: 'user-1' } as const;
    await until('the cache is filled', async () => {
      return (await stack.call('GET', detail, shopper)).headers.get('x-cache') === 'hit';
    });

    const order = await stack.call('POST', '/v1/orders', {
      ...shopper,
      idempotencyKey: randomUUID(),
      body: { items: [{ productId: product.productId, quantity: 1 }], paymentToken: 'tok_approve' },
    });

    expect(order.status).toBe(201);
    await until('the sold out product is evicted', async () => {
      return (await stack.call('GET', detail, shopper)).body.soldOut as boolean;
    });
    await until('everything adds up', async () => {
      const { REDIS_URL } = servers.environment;
      const environment = { ...stack.environment, REDIS_URL };
      return (await runOpsHere({ environment }, 'verify', '--grace', '0')).exitCode === 0;
    });
  });

  test('nobody has a connection to PostgreSQL in the clear', async () => {
    const { rows } = await stack.pool.query(`
      SELECT count(*) AS connections, count(*) FILTER (WHERE NOT ssl) AS clear
      FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE datname = current_database()`);

    expect(rows).toEqual([{ connections: expect.any(Number), clear: 0 }]);
  });
});
