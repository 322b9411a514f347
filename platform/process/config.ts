/**
 * Configuration, from the environment only. Read once at startup; invalid configuration ends the
 * process with one message that names every wrong variable.
 */
import { z } from 'zod';
import { parseConnectionString } from '../postgres/connection-string';
import { parseRedisUrl } from '../redis/address';
import { allServers, type Server } from './servers';

/** Roles of API keys: a shopper buys and likes, an operator also runs the shop. */
export type Role = 'shopper' | 'operator';

/** An API key: its name, its role, and the secret that the client sends. */
export interface ApiKey {
  readonly name: string;
  readonly role: Role;
  readonly secret: string;
}

/** One or more variables are missing or wrong. The process must not start; not retryable. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
  readonly code = 'CONFIGURATION_INVALID';
}

const developmentKeys =
  'operator:operator:dev-operator-key,shopper:shopper:dev-shopper-key' as const;
// They are public, wherever they are set.
const developmentSecrets = new Set(['dev-operator-key', 'dev-shopper-key']);

const httpUrl = z.url({ protocol: /^https?$/, error: 'must be an http or https address' });
const port = z.coerce.number().int().min(0).max(65535);
const flag = z.enum(['true', 'false']).transform((text) => text === 'true');
const commaSeparated = z
  .string()
  .transform((text) => text.split(',').map((part) => part.trim()))
  .pipe(z.array(z.string().min(1)).min(1));

const apiKeys = commaSeparated.transform((triples, context) =>
  triples.map((triple): ApiKey => {
    const [name, role, ...rest] = triple.split(':');
    const secret = rest.join(':');
    const valid = name !== undefined && name !== '' && secret !== '';
    if (valid && (role === 'shopper' || role === 'operator')) return { name, role, secret };
    context.addIssue({
      code: 'custom',
      message: 'must be name:role:secret triples, role being shopper or operator',
    });
    return z.NEVER;
  }),
);

/** Text that `parse` accepts; its error says what is wrong. */
function parsedBy(parse: (text: string) => unknown) {
  return z.string().superRefine((text, context) => {
    try {
      parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
    }
  });
}

const milliseconds = z.coerce.number().int().min(0);
const positive = z.coerce.number().int().min(1);

const encryptionKey = z
  .string()
  .transform((text) => Buffer.from(text, 'base64'))
  .refine((key) => key.byteLength === 32, 'must be 32 bytes, base64');

// Such an address cannot be called: a receiver knows its caller by the signature.
const webhookUrl = httpUrl.refine(
  (url) => !URL.canParse(url) || (new URL(url).username === '' && new URL(url).password === ''),
  'must have no user or password in it',
);

const webhookSecret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]+={0,2}$/, 'must be whsec_ and 24 to 64 bytes, base64')
  .transform((text) => Buffer.from(text.slice('whsec_'.length), 'base64'))
  .refine(
    ({ byteLength }) => byteLength >= 24 && byteLength <= 64,
    'must be whsec_ and 24 to 64 bytes, base64',
  );

// One entry a variable: its default and its validation in one place.
const schema = z.object({
  /**
   * Connection string of PostgreSQL; `?sslmode=verify-full&sslrootcert=FILE` for TLS. It may name several
   * hosts, `HOST:PORT,HOST:PORT`, and with `target_session_attrs=read-write` has the one that takes writes.
   */
  DATABASE_URL: parsedBy(parseConnectionString).default(
    'postgres://commerce:commerce@127.0.0.1:15432/commerce',
  ),
  /**
   * Makes `npm run migrate` create a database user for each kind of process, with a public password:
   * for a database that nobody else can reach.
   */
  DATABASE_DEVELOPMENT_USERS: flag.default(false),
  /**
   * Address of Redis, with the user and password if it asks for them; `rediss:` for TLS, `redis+sentinel:`
   * and `redis+cluster:` for Sentinel and Redis Cluster: see `platform/redis/address.ts`.
   */
  REDIS_URL: parsedBy(parseRedisUrl).default('redis://127.0.0.1:16379'),
  /** Path of the authority's certificate, PEM; unset for the system's. */
  REDIS_TLS_CA_FILE: z.string().optional(),
  /** Kafka's bootstrap brokers, comma separated `host:port`. */
  KAFKA_BROKERS: commaSeparated
    .pipe(z.array(z.string().regex(/^[^\s:]+:\d+$/, 'must be host:port, comma separated')))
    .prefault('127.0.0.1:19092'),
  /**
   * Replicas of the topics that `npm run migrate` creates. Unless set: one on each broker, up to three.
   */
  KAFKA_TOPIC_REPLICAS: positive.optional(),
  /**
   * How many replicas must be in sync for a message to be taken (`min.insync.replicas`). Unless set: one
   * less than there are.
   */
  KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS: positive.optional(),
  /** Whether to speak TLS to Kafka. */
  KAFKA_SSL: flag.default(false),
  /** Path of the authority's certificate, PEM; unset for the system's. */
  KAFKA_SSL_CA_FILE: z.string().optional(),
  /** Path of the client's certificate, PEM, for mutual TLS; needs `KAFKA_SSL_KEY_FILE`. */
  KAFKA_SSL_CERT_FILE: z.string().optional(),
  /** Path of that certificate's private key, PEM, without a passphrase; needs `KAFKA_SSL_CERT_FILE`. */
  KAFKA_SSL_KEY_FILE: z.string().optional(),
  /** How to authenticate with Kafka; unset for not at all. */
  KAFKA_SASL_MECHANISM: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).optional(),
  /** Kafka's user; set with `KAFKA_SASL_MECHANISM`, and not without. */
  KAFKA_SASL_USERNAME: z.string().optional(),
  /** Password of Kafka's user; set with `KAFKA_SASL_MECHANISM`, and not without. */
  KAFKA_SASL_PASSWORD: z.string().optional(),
  /** Temporal's frontend, `host:port`. */
  TEMPORAL_ADDRESS: z
    .string()
    .regex(/^[^\s:]+:\d+$/, 'must be host:port')
    .default('127.0.0.1:17233'),
  /** Temporal's namespace, which has all workflows. It must exist: nothing here creates it. */
  TEMPORAL_NAMESPACE: z.string().min(1).default('default'),
  /** API key, as Temporal Cloud gives it out; turns TLS on. */
  TEMPORAL_API_KEY: z.string().optional(),
  /** Whether to speak TLS to Temporal. */
  TEMPORAL_TLS_ENABLED: flag.default(false),
  /** Path of the authority's certificate, PEM; unset for the system's. */
  TEMPORAL_TLS_CA_FILE: z.string().optional(),
  /** Path of the client's certificate, PEM, for mutual TLS; needs `TEMPORAL_TLS_KEY_FILE`. */
  TEMPORAL_TLS_CERT_FILE: z.string().optional(),
  /** Path of that certificate's private key, PEM, without a passphrase; needs `TEMPORAL_TLS_CERT_FILE`. */
  TEMPORAL_TLS_KEY_FILE: z.string().optional(),
  /** The name that the server's certificate must bear, where it differs from the address. */
  TEMPORAL_TLS_SERVER_NAME: z.string().optional(),
  /** Where the Temporal Web UI answers, for links to workflows. */
  TEMPORAL_UI_URL: httpUrl.default('http://127.0.0.1:18233'),
  /** Port of the API; 0 for any free one. */
  API_PORT: port.default(3000),
  /**
   * Address that the API listens on; `0.0.0.0` for every address of the machine. Beyond loopback it refuses the
   * development keys.
   */
  API_HOST: z.string().min(1).default('127.0.0.1'),
  /** `name:role:secret` triples, comma separated. */
  API_KEYS: apiKeys.prefault(developmentKeys),
  /** Lets the API listen beyond loopback with the development keys: for a network that is closed by other means. */
  ALLOW_DEVELOPMENT_KEYS: flag.default(false),
  /** Most reads (`GET`) that one key may make in a second, of each process of the API. */
  API_READS_PER_SECOND: positive.default(10_000),
  /** Most changes (every other method) that one key may make in a second, of each process of the API. */
  API_CHANGES_PER_SECOND: positive.default(500),
  /**
   * Most changes that a process of the API has under way at once, an eighth of them of operators alone. Fewer
   * while they wait long for a worker.
   */
  API_MAX_CHANGES: positive.default(128),
  /**
   * Most undecided orders of one user; an order beyond is refused. Of several processes of the API, each
   * knows those that it is placing itself and those that are in the database. Unset: no bound.
   */
  API_MAX_ORDERS_PER_USER: positive.optional(),
  /**
   * Most connections that a process of the API keeps open at once; it cuts any more. They are those of
   * the first address of `API_HOST`: the second one that `localhost` may have has no bound.
   */
  API_MAX_CONNECTIONS: positive.default(2_000),
  /**
   * How long, in ms, the API keeps an idle connection open. It must be longer than a load balancer in front
   * of it does, which is often 60 s: or the balancer sends a request on a connection that is being closed.
   */
  API_KEEP_ALIVE_MS: positive.default(65_000),
  /**
   * How long, in ms, a stopping API goes on accepting requests while `/readyz` answers 503: longer than its
   * load balancer needs to notice. 0, the default: nothing balances between APIs.
   */
  DRAIN_MS: milliseconds.default(0),
  /**
   * Where the API keeps views until Kafka has them. Several processes of a host may share it; it should be
   * on a disk that outlives them.
   */
  VIEW_SPOOL_DIR: z.string().min(1).default('.cluster/view-spool'),
  /** Most bytes of views that a process of the API writes there; those that it adopts come on top. */
  VIEW_SPOOL_MAX_BYTES: positive.default(256 * 1024 * 1024),
  /**
   * Whether operators may play with the pipeline over HTTP: place orders as somebody, send events
   * again, send what is no event. Unset, only with the development keys.
   */
  DEMONSTRATION: flag.optional(),
  /** One workflow an event always, or batches whenever there is no slot for each. */
  BRIDGE_MODE: z.enum(['per-event', 'coalesce']).default('per-event'),
  /**
   * Bound on workflows that the bridge has started and that are not finished. By default two for each
   * processor of the machine with `per-event`, and one more than processors with `coalesce`. What each
   * was started for stays in memory until it is finished, up to 1 MiB.
   */
  BRIDGE_MAX_IN_FLIGHT: z.coerce.number().int().min(1).optional(),
  /** The collector's consumer group. */
  BRIDGE_GROUP_ID: z.string().min(1).default('commerce-collector'),
  /** Where the payment gateway answers. */
  PAYMENT_GATEWAY_URL: httpUrl.default('http://127.0.0.1:18080'),
  /** Where to tell that a product is sold out; unset for nowhere. */
  WEBHOOK_SOLD_OUT_URL: webhookUrl.optional(),
  /** Key of the signatures of what is told: `whsec_` and 24 to 64 bytes, base64; unset for none. */
  WEBHOOK_SECRET: webhookSecret.optional(),
  /** 32 bytes, base64: Temporal's payloads are encrypted with it. */
  PAYLOAD_ENCRYPTION_KEY: encryptionKey.optional(),
  /** How often the delivery audit runs, in ms. */
  AUDIT_INTERVAL_MS: z.coerce.number().int().min(1_000).default(60_000),
  /** After how many ms the audit has an event published that its workflow has not published. */
  AUDIT_UNPUBLISHED_AFTER_MS: milliseconds.default(5 * 60_000),
  /** After how many ms the audit asks whether a published event has arrived. */
  AUDIT_UNCONFIRMED_AFTER_MS: milliseconds.default(60_000),
  /** After how many ms the audit has a logged event handled that is neither handled nor parked. */
  AUDIT_UNHANDLED_AFTER_MS: milliseconds.default(10 * 60_000),
  /** After how many ms the audit has an order carried on that is still undecided. */
  AUDIT_UNDECIDED_AFTER_MS: milliseconds.default(10 * 60_000),
  /**
   * Turns worker versioning on: the name of the Worker Deployments, followed by `-` and the task
   * queue. See docs/changing-workflows.md.
   */
  TEMPORAL_DEPLOYMENT_NAME: z
    .string()
    .regex(/^[\w-]+$/, 'must consist of letters, digits, _ and -')
    .optional(),
  /** What workflows run in: our sandbox that costs less, or Temporal's own. See decision 0022. */
  WORKFLOW_SANDBOX: z.enum(['lean', 'standard']).default('lean'),
  /**
   * Records where each promise of a workflow waits, for the stack trace in the Temporal Web UI, at a
   * cost; in Temporal's own sandbox always.
   */
  WORKFLOW_STACK_TRACES: flag.default(false),
  /** Where workers and the bridge serve their metrics; the API serves them on its own port. */
  METRICS_HOST: z.string().min(1).default('127.0.0.1'),
  /** Port of the metrics; 0 for any free one, unset for none. */
  METRICS_PORT: port.optional(),
  /** Turns traces off, whatever the other variables say. */
  OTEL_SDK_DISABLED: flag.default(false),
  /** Where traces go: `otlp`, `console`, or `none`. Unset, an endpoint turns `otlp` on. */
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'console', 'none']).optional(),
  /** Base address of an OTLP receiver over HTTP. OpenTelemetry reads its other variables itself. */
  OTEL_EXPORTER_OTLP_ENDPOINT: httpUrl.optional(),
  /** Where traces go instead, if not to the path `/v1/traces` of that address. */
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: httpUrl.optional(),
  /** How traces are sent. */
  OTEL_EXPORTER_OTLP_PROTOCOL: z.enum(['http/protobuf', 'http/json']).default('http/protobuf'),
  /** What traces name the process; `commerce-` and its name unless set. */
  OTEL_SERVICE_NAME: z.string().min(1).optional(),
  /** The least severe lines that are logged; `silent` for none. */
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
});

/** The configuration of a process, checked; named after its variables. */
export type Config = Readonly<z.output<typeof schema> & { readonly DEMONSTRATION: boolean }>;

/** Every variable that the project reads. */
export const environmentVariables: readonly string[] = Object.keys(schema.shape);

/**
 * The configuration that the environment spells. A variable set to nothing counts as unset.
 *
 * @param servers those that the program speaks to; of the others a variable may lack what it needs beside it
 * @throws ConfigurationError with a line for each variable that is wrong
 */
export function readConfig(
  environment: NodeJS.ProcessEnv = process.env,
  servers: readonly Server[] = allServers,
): Config {
  const set = Object.entries(environment).filter(([, value]) => value !== '');
  const result = schema.safeParse(Object.fromEntries(set));
  const problems = result.success ? contradictions(result.data, servers) : describe(result.error);
  if (result.success && problems.length === 0) return withDerivedDefaults(result.data);
  throw new ConfigurationError(`Wrong configuration:\n${problems.join('\n')}`);
}

function withDerivedDefaults(data: z.output<typeof schema>): Config {
  return { ...data, DEMONSTRATION: data.DEMONSTRATION ?? hasDevelopmentKeys(data) };
}

function hasDevelopmentKeys({ API_KEYS }: Pick<z.output<typeof schema>, 'API_KEYS'>): boolean {
  return API_KEYS.some(({ secret }) => developmentSecrets.has(secret));
}

function describe(error: z.ZodError): string[] {
  return error.issues.map((issue) => `  ${String(issue.path[0])}: ${issue.message}`);
}

function contradictions(config: z.output<typeof schema>, servers: readonly Server[]): string[] {
  const problems: string[] = [];
  const names = new Set(config.API_KEYS.map((key) => key.secret));
  if (names.size !== config.API_KEYS.length) {
    problems.push('  API_KEYS: two keys have the same secret');
  }
  if (
    hasDevelopmentKeys(config) &&
    !isLoopback(config.API_HOST) &&
    !config.ALLOW_DEVELOPMENT_KEYS
  ) {
    problems.push(
      `  API_KEYS: must be set to listen on ${config.API_HOST}; the development keys are for loopback only`,
    );
  }
  const { KAFKA_TOPIC_REPLICAS: replicas, KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS: minInSync } = config;
  if (replicas !== undefined && minInSync !== undefined && minInSync > replicas) {
    problems.push(
      `  KAFKA_TOPIC_MIN_IN_SYNC_REPLICAS: must not be more than KAFKA_TOPIC_REPLICAS, ${replicas}`,
    );
  }
  return [...problems, ...missingCompanions(config, servers)];
}

/** Variables that say nothing, or not enough, without another: unread, they would mislead. */
function missingCompanions(config: z.output<typeof schema>, servers: readonly Server[]): string[] {
  const hasKafkaUser = config.KAFKA_SASL_MECHANISM !== undefined;
  const hasTemporalTls = config.TEMPORAL_TLS_ENABLED || config.TEMPORAL_API_KEY !== undefined;
  const hasRedisTls = config.REDIS_URL.startsWith('rediss');
  const pairs: [name: keyof typeof config, other: string, otherIsThere: boolean][] = [
    ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_MECHANISM', hasKafkaUser],
    ['KAFKA_SASL_PASSWORD', 'KAFKA_SASL_MECHANISM', hasKafkaUser],
    ['KAFKA_SSL_CA_FILE', 'KAFKA_SSL=true', config.KAFKA_SSL],
    ['KAFKA_SSL_CERT_FILE', 'KAFKA_SSL=true', config.KAFKA_SSL],
    ['KAFKA_SSL_CERT_FILE', 'KAFKA_SSL_KEY_FILE', config.KAFKA_SSL_KEY_FILE !== undefined],
    ['KAFKA_SSL_KEY_FILE', 'KAFKA_SSL_CERT_FILE', config.KAFKA_SSL_CERT_FILE !== undefined],
    ['WEBHOOK_SECRET', 'WEBHOOK_SOLD_OUT_URL', config.WEBHOOK_SOLD_OUT_URL !== undefined],
    ['REDIS_TLS_CA_FILE', 'a REDIS_URL that begins with rediss', hasRedisTls],
    ['TEMPORAL_TLS_CA_FILE', 'TEMPORAL_TLS_ENABLED=true', hasTemporalTls],
    ['TEMPORAL_TLS_SERVER_NAME', 'TEMPORAL_TLS_ENABLED=true', hasTemporalTls],
    ['TEMPORAL_TLS_CERT_FILE', 'TEMPORAL_TLS_ENABLED=true', hasTemporalTls],
    ['TEMPORAL_TLS_CERT_FILE', 'TEMPORAL_TLS_KEY_FILE', config.TEMPORAL_TLS_KEY_FILE !== undefined],
    [
      'TEMPORAL_TLS_KEY_FILE',
      'TEMPORAL_TLS_CERT_FILE',
      config.TEMPORAL_TLS_CERT_FILE !== undefined,
    ],
  ];
  const wrong = pairs.filter(
    ([name, , isThere]) => isFor(servers, name) && config[name] !== undefined && !isThere,
  );
  const without = (['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'] as const).filter(
    (name) => isFor(servers, name) && hasKafkaUser && config[name] === undefined,
  );
  return [
    ...wrong.map(([name, other]) => `  ${name}: needs ${other}`),
    ...without.map((name) => `  ${name}: must be set with KAFKA_SASL_MECHANISM`),
  ];
}

/** Whether a variable is for one of these servers, or for none. */
function isFor(servers: readonly Server[], variable: string): boolean {
  const server = allServers.find((name) => variable.startsWith(`${name.toUpperCase()}_`));
  return server === undefined || servers.includes(server);
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}
