import { ConfigurationError, readConfig } from '../../platform/process/config';
import { createKafka } from '../../platform/kafka/client';
import { createLogger } from '../../platform/observability/logger';
import { createPool } from '../../platform/postgres/pool';
import { createRedis } from '../../platform/redis/client';
import { temporalConnectionOptions } from '../../platform/temporal/client';

const logger = createLogger('test', 'silent');
const file = '/nowhere/authority.pem';

const readers: [
  name: string,
  environment: NodeJS.ProcessEnv,
  read: (environment: NodeJS.ProcessEnv) => unknown,
][] = [
  [
    'DATABASE_URL',
    { DATABASE_URL: `postgres://x@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=${file}` },
    (environment) =>
      createPool(readConfig(environment).DATABASE_URL, logger, { applicationName: 'x' }),
  ],
  [
    'REDIS_TLS_CA_FILE',
    { REDIS_URL: 'rediss://127.0.0.1:1', REDIS_TLS_CA_FILE: file },
    (environment) => {
      const { REDIS_URL, REDIS_TLS_CA_FILE } = readConfig(environment);
      return createRedis(REDIS_URL, logger, { caFile: REDIS_TLS_CA_FILE });
    },
  ],
  [
    'KAFKA_SSL_CA_FILE',
    { KAFKA_SSL: 'true', KAFKA_SSL_CA_FILE: file },
    (environment) => createKafka(readConfig(environment), logger, { clientId: 'x' }),
  ],
  [
    'TEMPORAL_TLS_CA_FILE',
    { TEMPORAL_TLS_ENABLED: 'true', TEMPORAL_TLS_CA_FILE: file },
    (environment) => temporalConnectionOptions(readConfig(environment)),
  ],
  [
    'TEMPORAL_TLS_CA_FILE',
    { TEMPORAL_API_KEY: 'key', TEMPORAL_TLS_CA_FILE: file },
    (environment) => temporalConnectionOptions(readConfig(environment)),
  ],
];

test.each(readers)(
  '%s: a file that is not there is named, with who names it',
  (name, environment, read) => {
    expect(() => read(environment)).toThrow(ConfigurationError);
    expect(() => read(environment)).toThrow(`  ${name}: cannot read the file ${file} (ENOENT)`);
  },
);
