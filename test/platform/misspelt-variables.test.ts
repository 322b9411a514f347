import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { clusterVariables } from '../../cluster/local-cluster';
import { environmentVariables } from '../../platform/process/config';
import { warnOfMisspeltVariables } from '../../platform/process/misspelt-variables';

test.each([
  ['a letter too many', 'API_PORTT', 'API_PORT'],
  ['a missing letter', 'DATABASE_UR', 'DATABASE_URL'],
  ['a wrong letter', 'BRIDGE_NODE', 'BRIDGE_MODE'],
  ['two swapped letters', 'LOG_LEVLE', 'LOG_LEVEL'],
  ['the nearest of several', 'API_PORST', 'API_PORT'],
])('%s is named, with what was meant', (_what, name, meant) => {
  expect(warnOfMisspeltVariables({ [name]: 'x' })).toEqual([
    `${name} is not read by anything; did you mean ${meant}?`,
  ]);
});

test('a name that anything may have is told only where its value is meant for us', () => {
  expect(warnOfMisspeltVariables({ API_KEY: '5f2c:9e' })).toEqual([]);
  expect(warnOfMisspeltVariables({ API_KEY: 'ann:shopper:secret' })).toEqual([
    'API_KEY is not read by anything; did you mean API_KEYS?',
  ]);
});

test('a program that reads more variables knows when those are misspelt, too', () => {
  const environment = { CLUSTER_KAFKA_BROKER: '3' };

  expect(warnOfMisspeltVariables(environment)).toEqual([]);
  expect(warnOfMisspeltVariables(environment, clusterVariables)).toEqual([
    'CLUSTER_KAFKA_BROKER is not read by anything; did you mean CLUSTER_KAFKA_BROKERS?',
  ]);
});

test('every variable of ours is known', () => {
  const environment = asEnvironment([...environmentVariables, ...clusterVariables]);

  expect(warnOfMisspeltVariables(environment, clusterVariables)).toEqual([]);
});

test('what any environment has, CI, Kubernetes and Compose set, is no misspelling', () => {
  expect(
    warnOfMisspeltVariables(asEnvironment([...ordinary, ...composeVariables()]), clusterVariables),
  ).toEqual([]);
});

const ordinary = [
  ...['PATH', 'HOME', 'PWD', 'SHELL', 'TERM', 'LANG', 'USER', 'LOGNAME', 'HOSTNAME', 'TZ', 'CI'],
  ...[
    'NODE_ENV',
    'NODE_OPTIONS',
    'NO_COLOR',
    'INIT_CWD',
    'npm_config_loglevel',
    'PGHOST',
    'PGPORT',
  ],
  ...['GITHUB_TOKEN', 'GITHUB_API_URL', 'RUNNER_TEMP', 'RUNNER_OS', 'XDG_CACHE_HOME', 'JAVA_HOME'],
  ...['KUBERNETES_PORT', 'KUBERNETES_SERVICE_HOST', 'REDIS_PORT', 'REDIS_HOST', 'KAFKA_PORT'],
  ...['API_SERVICE_HOST', 'API_SERVICE_PORT', 'API_PORT_3000_TCP', 'OTEL_SERVICE_NAMES'],
  ...['TEST_WORKERS', 'CLUSTER_KAFKA_LIBRARIES', 'CLUSTER_POSTGRES_PROGRAM', 'PAYMENTS_PORT'],
];

/** Those of every service of docker-compose.yml, also of servers. */
function composeVariables(): string[] {
  const file = path.join(__dirname, '../../docker-compose.yml');
  const { services } = parse(readFileSync(file, 'utf8'), { merge: true });
  return Object.values<{ environment?: Record<string, string> }>(services).flatMap(
    ({ environment = {} }) => Object.keys(environment),
  );
}

function asEnvironment(names: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(names.map((name) => [name, 'x']));
}
