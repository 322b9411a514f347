/**
 * The servers of `docker-compose.yml` for a cluster on one machine, one pod each, and the development
 * users' Secrets: `deploy/kubernetes/overlays/local/`. Everything in them is public, as in Compose.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { readConfig } from '../platform/process/config';
import type { PlannedFile } from './files';

/** As much of a service of Compose as a pod takes over. */
interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly volumes?: readonly string[];
}

/** The servers, and the ports that the processes reach them on. */
const servers = { postgres: 5432, redis: 6379, kafka: 9092, temporal: 7233, payments: 18080 };

/** A server is asked for that Compose does not have. */
class ComposeServiceError extends Error {
  override readonly name = 'ComposeServiceError';
  readonly code = 'COMPOSE_SERVICE_MISSING';
}

/**
 * The manifests, from the Compose file below the root.
 *
 * @throws ComposeServiceError
 */
export function plannedLocalServers(root: string): PlannedFile[] {
  const text = readFileSync(path.join(root, 'docker-compose.yml'), 'utf8');
  const { services } = parse(text, { merge: true }) as { services: Record<string, Service> };
  const service = (name: string): Service => {
    const found = services[name];
    if (found === undefined)
      throw new ComposeServiceError(`docker-compose.yml has no service ${name}.`);
    return found;
  };
  const manifests = Object.entries(servers).flatMap(([name, port]) =>
    manifestsOf(name, port, service(name)),
  );
  return [file('servers.yaml', manifests), file('secrets.yaml', secretsOf(service))];
}

function file(name: string, manifests: readonly object[]): PlannedFile {
  const documents = manifests.map((manifest) =>
    // As YAML 1.1, which Kubernetes reads: there, an unquoted `no` is false.
    stringify(manifest, {
      version: '1.1',
      lineWidth: 0,
      singleQuote: true,
      aliasDuplicateObjects: false,
    }),
  );
  return {
    file: `deploy/kubernetes/overlays/local/${name}`,
    text: `# Written by npm run generate from docker-compose.yml.\n${documents.join('---\n')}`,
  };
}

function manifestsOf(name: string, port: number, service: Service): object[] {
  const { image, command, environment = {}, volumes = [] } = service;
  const labels = { 'app.kubernetes.io/name': name };
  const metadata = { name, labels: { ...labels, 'rollout-step': 'ground' } };
  const mounts = volumes.map((volume) => volume.split(':') as [string, string]);
  const container = {
    name,
    image,
    ...(command === undefined ? {} : { args: command }),
    env: Object.entries(environment).map(([variable, value]) => ({
      name: variable,
      value: withoutProfiles(String(value)),
    })),
    ports: [{ containerPort: port }],
    volumeMounts: mounts.map(([volume, mountPath]) => ({ name: volume, mountPath })),
  };
  const spec = {
    enableServiceLinks: false,
    automountServiceAccountToken: false,
    containers: [container],
    volumes: mounts.map(([volume]) => ({ name: volume, emptyDir: {} })),
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        strategy: { type: 'Recreate' },
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      // Without an address of its own: a server finds itself by its name, too.
      spec: {
        clusterIP: 'None',
        publishNotReadyAddresses: true,
        selector: labels,
        ports: [{ port }],
      },
    },
  ];
}

/** What Compose puts in for `${NAME:-word}` and `${NAME:+word}` while no variable is set. */
function withoutProfiles(text: string): string {
  return text.replace(/\$\{\w+:?([+-])(.*?)\}/g, (_, operator: string, word: string) =>
    operator === '+' ? '' : word,
  );
}

function secretsOf(service: (name: string) => Service): object[] {
  const keys = readConfig({}).API_KEYS.map(({ name, role, secret }) => `${name}:${role}:${secret}`);
  const names = ['api', 'worker-commerce', 'worker-collector', 'bridge', 'migrate', 'verify'];
  return names.map((name) => {
    // It is a command of the operator's command line.
    const { environment = {} } = service(name === 'verify' ? 'ops' : name);
    const { DATABASE_URL, REDIS_URL } = environment;
    return {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, labels: { 'rollout-step': 'ground' } },
      stringData: { DATABASE_URL, REDIS_URL, ...(name === 'api' ? { API_KEYS: keys.join() } : {}) },
    };
  });
}
