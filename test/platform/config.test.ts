import { ConfigurationError, readConfig } from '../../platform/process/config';
import { serversOf, type Server } from '../../platform/process/servers';

function problemsOf(environment: NodeJS.ProcessEnv, servers?: readonly Server[]): string {
  try {
    readConfig(environment, servers);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message;
    throw error;
  }
  throw new Error('The configuration was accepted.');
}

test('nothing set gives what the local cluster needs', () => {
  expect(readConfig({})).toMatchObject({
    DATABASE_URL: 'postgres://commerce:commerce@127.0.0.1:15432/commerce',
    REDIS_URL: 'redis://127.0.0.1:16379',
    KAFKA_BROKERS: ['127.0.0.1:19092'],
    KAFKA_SSL: false,
    TEMPORAL_ADDRESS: '127.0.0.1:17233',
    TEMPORAL_NAMESPACE: 'default',
    TEMPORAL_TLS_ENABLED: false,
    TEMPORAL_UI_URL: 'http://127.0.0.1:18233',
    API_PORT: 3000,
    API_HOST: '127.0.0.1',
    API_KEYS: [
      { name: 'operator', role: 'operator', secret: 'dev-operator-key' },
      { name: 'shopper', role: 'shopper', secret: 'dev-shopper-key' },
    ],
    ALLOW_DEVELOPMENT_KEYS: false,
    BRIDGE_MODE: 'per-event',
    BRIDGE_GROUP_ID: 'commerce-collector',
    PAYMENT_GATEWAY_URL: 'http://127.0.0.1:18080',
    LOG_LEVEL: 'info',
  });
});

test('what is off is off unless it is set', () => {
  const config = readConfig({});
  for (const name of [
    'KAFKA_SASL_MECHANISM',
    'TEMPORAL_API_KEY',
    'PAYLOAD_ENCRYPTION_KEY',
  ] as const) {
    expect(config[name]).toBeUndefined();
  }
});

test('a variable that is set to nothing counts as unset', () => {
  expect(readConfig({ API_PORT: '', KAFKA_BROKERS: '', API_KEYS: '', KAFKA_SSL: '' })).toEqual(
    readConfig({}),
  );
});

test('every value is read as what it is', () => {
  const key = Buffer.alloc(32, 7);
  expect(
    readConfig({
      KAFKA_BROKERS: 'one:9092, two:9093',
      KAFKA_SSL: 'true',
      API_PORT: '0',
      API_KEYS: 'ops:operator:se:cret,web:shopper:other',
      BRIDGE_MAX_IN_FLIGHT: '7',
      PAYLOAD_ENCRYPTION_KEY: key.toString('base64'),
    }),
  ).toMatchObject({
    KAFKA_BROKERS: ['one:9092', 'two:9093'],
    KAFKA_SSL: true,
    API_PORT: 0,
    API_KEYS: [
      { name: 'ops', role: 'operator', secret: 'se:cret' },
      { name: 'web', role: 'shopper', secret: 'other' },
    ],
    BRIDGE_MAX_IN_FLIGHT: 7,
    PAYLOAD_ENCRYPTION_KEY: key,
  });
});

describe('a wrong value is named', () => {
  const wrong: [string, string][] = [
    ['DATABASE_URL', 'mysql://127.0.0.1/commerce'],
    ['REDIS_URL', '127.0.0.1:6379'],
    ['KAFKA_BROKERS', '127.0.0.1'],
    ['KAFKA_TOPIC_REPLICAS', '0'],
    ['KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS', 'most'],
    ['KAFKA_SSL', 'yes'],
    ['KAFKA_SASL_MECHANISM', 'kerberos'],
    ['TEMPORAL_ADDRESS', 'http://127.0.0.1'],
    ['TEMPORAL_TLS_ENABLED', '1'],
    ['TEMPORAL_UI_URL', 'nowhere'],
    ['API_PORT', '65536'],
    ['API_KEYS', 'operator:admin:secret'],
    ['ALLOW_DEVELOPMENT_KEYS', 'TRUE'],
    ['BRIDGE_MODE', 'fast'],
    ['BRIDGE_MAX_IN_FLIGHT', '0'],
    ['PAYMENT_GATEWAY_URL', '-'],
    ['WEBHOOK_SOLD_OUT_URL', 'receiver.example'],
    ['PAYLOAD_ENCRYPTION_KEY', Buffer.alloc(31).toString('base64')],
    ['LOG_LEVEL', 'loud'],
  ];

  test.each(wrong)('%s: %s', (name, value) => {
    const message = problemsOf({ [name]: value });
    expect(message.split('\n').slice(1)).toEqual([expect.stringMatching(`^  ${name}: .`)]);
  });

  test('more replicas in sync than there are', () => {
    const replicas = { KAFKA_TOPIC_REPLICAS: '3', KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS: '4' };

    expect(problemsOf(replicas)).toContain('  KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS: must not be');
  });

  test.each(['localhost:18080', 'ftp://127.0.0.1'])('a gateway at %s', (url) => {
    expect(problemsOf({ PAYMENT_GATEWAY_URL: url })).toContain('  PAYMENT_GATEWAY_URL: must be');
  });

  test.each(['ftp://127.0.0.1', 'http://user@127.0.0.1', 'http://:hush@127.0.0.1'])(
    'a receiver of webhooks at %s',
    (url) => {
      const message = problemsOf({ WEBHOOK_SOLD_OUT_URL: url });
      expect(message).toContain('  WEBHOOK_SOLD_OUT_URL: must ');
      expect(message).not.toContain('hush');
    },
  );

  test.each([
    ['without its prefix', Buffer.alloc(32, 7).toString('base64')],
    ['too short', `whsec_${Buffer.alloc(23, 7).toString('base64')}`],
    ['too long', `whsec_${Buffer.alloc(65, 7).toString('base64')}`],
    ['no base64', 'whsec_!'],
  ])('a secret of webhooks %s', (_, secret) => {
    const message = problemsOf({
      WEBHOOK_SOLD_OUT_URL: 'https://receiver.example',
      WEBHOOK_SECRET: secret,
    });
    expect(message).toContain('  WEBHOOK_SECRET: must be whsec_');
  });

  test('together with every other that is wrong, in one message', () => {
    const message = problemsOf(Object.fromEntries(wrong));
    for (const [name] of wrong) expect(message).toContain(`  ${name}: `);
    expect(message.split('\n')).toHaveLength(1 + wrong.length);
  });

  test('without telling a secret', () => {
    const message = problemsOf({
      API_KEYS: 'operator:nobody:hush',
      PAYLOAD_ENCRYPTION_KEY: 'hush',
      DATABASE_URL: 'no-url-with-hush',
    });
    expect(message).not.toContain('hush');
  });

  test('when the name or the secret of a key is missing', () => {
    for (const keys of [
      'operator',
      'operator:operator',
      'operator:operator:',
      ':operator:secret',
      ',',
    ]) {
      expect(problemsOf({ API_KEYS: keys })).toContain('  API_KEYS: ');
    }
  });

  test('when two keys cannot be told apart', () => {
    expect(problemsOf({ API_KEYS: 'a:operator:same,b:shopper:same' })).toContain('  API_KEYS: ');
  });

  test('when a SASL mechanism has nobody to authenticate', () => {
    const message = problemsOf({ KAFKA_SASL_MECHANISM: 'plain' });
    expect(message).toContain('  KAFKA_SASL_USERNAME: ');
    expect(message).toContain('  KAFKA_SASL_PASSWORD: ');
  });
});

describe('a variable that would not be read, or not without another, is named', () => {
  const lonely: [name: string, environment: NodeJS.ProcessEnv][] = [
    ['KAFKA_SASL_USERNAME', { KAFKA_SASL_USERNAME: 'shop' }],
    ['KAFKA_SASL_PASSWORD', { KAFKA_SASL_PASSWORD: 'hush' }],
    ['KAFKA_SSL_CA_FILE', { KAFKA_SSL_CA_FILE: 'ca.pem' }],
    ['KAFKA_SSL_CERT_FILE', { KAFKA_SSL: 'true', KAFKA_SSL_CERT_FILE: 'shop.pem' }],
    ['KAFKA_SSL_KEY_FILE', { KAFKA_SSL: 'true', KAFKA_SSL_KEY_FILE: 'key.pem' }],
    ['WEBHOOK_SECRET', { WEBHOOK_SECRET: `whsec_${Buffer.alloc(32, 7).toString('base64')}` }],
    ['REDIS_TLS_CA_FILE', { REDIS_TLS_CA_FILE: 'ca.pem' }],
    ['TEMPORAL_TLS_CA_FILE', { TEMPORAL_TLS_CA_FILE: 'ca.pem' }],
    ['TEMPORAL_TLS_SERVER_NAME', { TEMPORAL_TLS_SERVER_NAME: 'temporal.test' }],
    ['TEMPORAL_TLS_CERT_FILE', { TEMPORAL_API_KEY: 'x', TEMPORAL_TLS_CERT_FILE: 'shop.pem' }],
    ['TEMPORAL_TLS_KEY_FILE', { TEMPORAL_API_KEY: 'x', TEMPORAL_TLS_KEY_FILE: 'key.pem' }],
  ];

  test.each(lonely)('%s', (name, environment) => {
    const message = problemsOf(environment);
    expect(message.split('\n').slice(1)).toEqual([expect.stringMatching(`^  ${name}: needs `)]);
    expect(message).not.toContain('hush');
  });

  test('and not where the other is there', () => {
    const environment = {
      KAFKA_SSL: 'true',
      KAFKA_SSL_CA_FILE: 'ca.pem',
      REDIS_URL: 'rediss://127.0.0.1',
      REDIS_TLS_CA_FILE: 'ca.pem',
      TEMPORAL_API_KEY: 'key',
      TEMPORAL_TLS_CA_FILE: 'ca.pem',
    };
    expect(readConfig(environment)).toMatchObject({ KAFKA_SSL_CA_FILE: 'ca.pem' });
  });
});

describe('settings of a server that a program does not speak to', () => {
  const incomplete = {
    KAFKA_SASL_MECHANISM: 'plain',
    REDIS_TLS_CA_FILE: 'ca.pem',
    TEMPORAL_TLS_CA_FILE: 'ca.pem',
  };
  const namesIn = (message: string): string[] =>
    message.split('\n').flatMap((line) => /^ {2}(\w+): /.exec(line)?.[1] ?? []);

  test('may lack what they need beside them', () => {
    expect(readConfig(incomplete, [])).toMatchObject({ KAFKA_SASL_MECHANISM: 'plain' });
  });

  test.each([
    ['api', ['REDIS_TLS_CA_FILE', 'TEMPORAL_TLS_CA_FILE', 'KAFKA_SASL_USERNAME']],
    ['bridge', ['TEMPORAL_TLS_CA_FILE', 'KAFKA_SASL_USERNAME']],
    ['promote', ['TEMPORAL_TLS_CA_FILE']],
  ])('are none of the business of %s; those of its own are', (program, names) => {
    const message = problemsOf(incomplete, serversOf(program));

    expect(namesIn(message).filter((name) => name !== 'KAFKA_SASL_PASSWORD')).toEqual(names);
  });

  test('must be right by themselves all the same', () => {
    expect(problemsOf({ KAFKA_SSL: 'yes' }, [])).toContain('  KAFKA_SSL: ');
  });
});

describe('the development keys', () => {
  const development = 'operator:operator:dev-operator-key,shopper:shopper:dev-shopper-key';

  test.each(['0.0.0.0', '::', '192.168.1.5', 'shop.example', '127.example'])(
    'are refused on %s',
    (host) => {
      expect(problemsOf({ API_HOST: host })).toContain('  API_KEYS: ');
    },
  );

  test('are refused beyond loopback also when they are set by hand, or only one of them', () => {
    expect(problemsOf({ API_HOST: '0.0.0.0', API_KEYS: development })).toContain('  API_KEYS: ');
    const mixed = 'real:operator:a-real-secret,shopper:shopper:dev-shopper-key';
    expect(problemsOf({ API_HOST: '0.0.0.0', API_KEYS: mixed })).toContain('  API_KEYS: ');
  });

  test.each(['127.0.0.1', '127.1.2.3', 'localhost', '::1'])('are good on %s', (host) => {
    expect(readConfig({ API_HOST: host }).API_HOST).toBe(host);
  });

  test('are good anywhere when that is allowed', () => {
    const environment = { API_HOST: '0.0.0.0', ALLOW_DEVELOPMENT_KEYS: 'true' };
    expect(readConfig(environment).API_HOST).toBe('0.0.0.0');
  });

  test('are not in the way of other keys', () => {
    const environment = { API_HOST: '0.0.0.0', API_KEYS: 'real:operator:a-real-secret' };
    expect(readConfig(environment).API_KEYS).toHaveLength(1);
  });
});
