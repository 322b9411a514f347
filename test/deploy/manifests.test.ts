/**
 * The manifests for Kubernetes: an API server would take them, and they agree with Compose, the
 * configuration and the life of a process. No cluster runs here: docs/kubernetes.md says what that leaves
 * open.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { plannedAlertManifest } from '../../scaffold/alert-manifest';
import { plannedLocalServers } from '../../scaffold/local-servers';
import { render, type Manifest } from '../../testkit/kustomize';
import { root } from '../docs/markdown';
import { disagreements } from './agreement';
import { wrongFieldsOf, wrongValuesOf } from './kubernetes-schemas';

const overlays = ['local', 'production'] as const;
const folderOf = (overlay: string): string =>
  path.join(root, 'deploy', 'kubernetes', 'overlays', overlay);

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`There is no ${kind} ${name}.`);
  return found;
}

describe.each(overlays)('the overlay %s', (overlay) => {
  const manifests = render(folderOf(overlay));

  it('has only values that the schemas allow', () => {
    expect(wrongValuesOf(manifests)).toEqual([]);
  });

  it('has only fields that the schemas have', () => {
    expect(wrongFieldsOf(manifests)).toEqual([]);
  });

  it('agrees with Compose, the configuration and the life of a process', () => {
    expect(disagreements(manifests)).toEqual([]);
  });

  it('has every manifest in one step of a release, and no two of a name', () => {
    const steps = manifests.map(({ metadata }) => metadata.labels?.['rollout-step']);
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);

    expect(new Set(steps)).toEqual(new Set(['ground', 'migrate', 'processes', 'promote']));
    expect(names).toEqual([...new Set(names)]);
  });

  it('gives the password of the owner to the migration alone, and no two processes the same user', () => {
    const text = JSON.stringify(manifests.filter(({ metadata }) => metadata.name !== 'migrate'));
    const users = manifests
      .filter(({ kind }) => kind === 'Secret')
      .map(({ stringData }) => new URL(stringData.DATABASE_URL).username);

    expect(text).not.toContain('"secretKeyRef":{"name":"migrate"');
    expect(JSON.stringify(find(manifests, 'Job', 'migrate'))).toContain('"name":"migrate"');
    expect(users).toEqual([...new Set(users)]);
  });

  const hasKubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
  (hasKubectl ? it : it.skip)('is what kubectl makes of it', () => {
    const text = execFileSync('kubectl', ['kustomize', folderOf(overlay)], { encoding: 'utf8' });
    const made = parseAllDocuments(text).map((document) => document.toJS() as Manifest);

    expect(sorted(manifests)).toEqual(sorted(made));
  });
});

function sorted(manifests: readonly Manifest[]): Manifest[] {
  const key = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;
  return manifests.toSorted((one, other) => (key(one) < key(other) ? -1 : 1));
}

describe('in production', () => {
  const manifests = render(folderOf('production'));

  it('holds no secret', () => {
    expect(manifests.filter(({ kind }) => kind === 'Secret')).toEqual([]);
  });

  it('takes certificates of one’s own, and a key of Temporal that turns TLS on by itself', () => {
    const changed = structuredClone(manifests);
    const { data } = find(changed, 'ConfigMap', 'commerce') as unknown as {
      data: Record<string, string>;
    };
    delete data['TEMPORAL_TLS_ENABLED'];
    for (const name of ['KAFKA_SSL_CA_FILE', 'REDIS_TLS_CA_FILE', 'TEMPORAL_TLS_CA_FILE'])
      data[name] = '/etc/certificates/ca.pem';

    expect(disagreements(changed)).toEqual([]);
  });

  it('has the alerts of Prometheus (else: npm run generate)', () => {
    const { file, text } = plannedAlertManifest(root);

    expect(readFileSync(path.join(root, file), 'utf8')).toBe(text);
  });

  it('restricts the pods of a CronJob as all others', () => {
    const patch = (file: string): string =>
      readFileSync(path.join(root, 'deploy', 'kubernetes', 'base', file), 'utf8').replace(
        /^#.*\n(?:#.*\n)*/,
        '',
      );

    expect(patch('restricted-cron-pod.yaml')).toBe(
      patch('restricted-pod.yaml').replaceAll(
        '/spec/template/',
        '/spec/jobTemplate/spec/template/',
      ),
    );
  });
});

/** Between the tries of a Job: twice as long each time, from ten seconds to six minutes. */
function secondsOfPauses(tries: number): number {
  return Array.from({ length: tries }, (_, index) => Math.min(10 * 2 ** index, 360)).reduce(
    (sum, seconds) => sum + seconds,
  );
}

describe('on one machine', () => {
  const manifests = render(folderOf('local'));

  it.each(plannedLocalServers(root))(
    '$file follows Compose (else: npm run generate)',
    (planned) => {
      expect(readFileSync(path.join(root, planned.file), 'utf8')).toBe(planned.text);
    },
  );

  it('has Jobs go on trying until their deadline, however long the servers take', () => {
    const jobs = manifests.filter(({ kind }) => kind === 'Job');

    expect(jobs.map(({ metadata }) => metadata.name)).toEqual(['migrate', 'promote']);
    for (const { spec } of jobs) {
      expect(spec.activeDeadlineSeconds).toBeGreaterThanOrEqual(3_600);
      expect(secondsOfPauses(spec.backoffLimit)).toBeGreaterThan(spec.activeDeadlineSeconds);
    }
  });

  it('has the servers and the Secrets that the processes look for', () => {
    const { data } = find(manifests, 'ConfigMap', 'commerce') as unknown as {
      data: Record<string, string>;
    };
    const looksFor = [data['KAFKA_BROKERS'], data['TEMPORAL_ADDRESS'], data['PAYMENT_GATEWAY_URL']]
      .concat(Object.values<string>(find(manifests, 'Secret', 'api')['stringData']))
      .flatMap((text) => /(\w+):(\d+)(\/commerce)?$/.exec(text ?? '')?.slice(1, 3) ?? []);

    expect(looksFor).toEqual(
      ['kafka', '9092', 'temporal', '7233', 'payments', '18080', 'postgres', '5432'].concat([
        'redis',
        '6379',
      ]),
    );
    for (const name of looksFor.filter((_, index) => index % 2 === 0)) {
      const { spec } = find(manifests, 'Service', name);
      expect(spec.ports[0].port).toBe(Number(looksFor[looksFor.indexOf(name) + 1]));
    }
  });
});

describe('what is wrong is found', () => {
  const production = (): Manifest[] => structuredClone(render(folderOf('production')));
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  type Change = (spec: any) => void;

  /** The manifests with one of them changed. */
  function changed(kind: string, name: string, change: Change): Manifest[] {
    const manifests = production();
    change(find(manifests, kind, name)['spec'] ?? find(manifests, kind, name));
    return manifests;
  }

  const pod =
    (change: Change): Change =>
    (spec) =>
      change(spec.template.spec);
  const container = (change: Change): Change => pod((spec) => change(spec.containers[0]));
  const withoutVariable = (name: string): Change =>
    container((one) => {
      one.env = one.env.filter((variable: { name: string }) => variable.name !== name);
    });
  const keyOf = (name: string, key: string): object => ({
    name: key,
    valueFrom: { secretKeyRef: { name, key } },
  });
  const set = (name: string, value: string): Change =>
    container(({ env }) => {
      env.find((one: { name: string }) => one.name === name).value = value;
    });

  it.each<[string, string, string, Change, RegExp]>([
    [
      'a probe of a path that is not served',
      'Deployment',
      'bridge',
      container(({ readinessProbe }) => (readinessProbe.httpGet.path = '/ready')),
      /bridge: readinessProbe asks for \/ready,/,
    ],
    [
      'a probe on a port that is not there',
      'Deployment',
      'api',
      container(({ livenessProbe }) => (livenessProbe.httpGet.port = 'metrics')),
      /api: livenessProbe asks on metrics/,
    ],
    [
      'a probe that does not wait for the answer',
      'Deployment',
      'api',
      container(({ readinessProbe }) => (readinessProbe.timeoutSeconds = 1)),
      /api: readinessProbe waits for 1 s/,
    ],
    [
      'a process without a probe',
      'Deployment',
      'worker-commerce',
      container((one) => delete one.startupProbe),
      /worker-commerce: has no startupProbe/,
    ],
    [
      'a variable that nothing reads',
      'Deployment',
      'api',
      container(({ env }) => env.push({ name: 'API_PROT', value: '3000' })),
      /api: sets API_PROT, which nothing reads/,
    ],
    [
      'a value that is wrong',
      'Deployment',
      'bridge',
      set('METRICS_PORT', 'metrics'),
      /METRICS_PORT/,
    ],
    ['another port', 'Deployment', 'api', set('API_PORT', '3001'), /api: listens on 3001/],
    [
      'loopback',
      'Deployment',
      'bridge',
      set('METRICS_HOST', '127.0.0.1'),
      /bridge: listens on 127/,
    ],
    [
      'a grace that is too short',
      'Deployment',
      'worker-collector',
      pod((spec) => (spec.terminationGracePeriodSeconds = 30)),
      /worker-collector: is given 30000 ms to stop/,
    ],
    [
      'a drain that leaves no grace',
      'Deployment',
      'api',
      set('DRAIN_MS', '30000'),
      /api: is given/,
    ],
    [
      'another command than in Compose',
      'Deployment',
      'worker-commerce',
      container((one) => (one.args = ['node', 'dist/workers/collector.js'])),
      /another command than in docker-compose.yml/,
    ],
    [
      'a program that is not there',
      'Job',
      'promote',
      container((one) => (one.args = ['node', 'dist/workers/promoted.js'])),
      /promote: runs dist\/workers\/promoted.js/,
    ],
    [
      'the password of the owner',
      'Deployment',
      'api',
      container(({ env }) => {
        env.find(
          (one: { name: string }) => one.name === 'DATABASE_URL',
        ).valueFrom.secretKeyRef.name = 'migrate';
      }),
      /api: reads the Secret of migrate/,
    ],
    [
      'promote without its key for Temporal',
      'Job',
      'promote',
      withoutVariable('TEMPORAL_API_KEY'),
      /promote: has no TEMPORAL_API_KEY/,
    ],
    [
      'a bridge without its password for Kafka',
      'Deployment',
      'bridge',
      withoutVariable('KAFKA_SASL_PASSWORD'),
      /bridge: .*\n {2}KAFKA_SASL_PASSWORD: must be set/,
    ],
    [
      'a user for a server that the program does not speak to',
      'Job',
      'promote',
      container(({ env }) => env.push(keyOf('promote', 'KAFKA_SASL_USERNAME'))),
      /promote: reads KAFKA_SASL_USERNAME, and does not speak to kafka/,
    ],
    [
      'a container that may write anywhere',
      'Job',
      'migrate',
      container(({ securityContext }) => (securityContext.readOnlyRootFilesystem = false)),
      /migrate: is not restricted/,
    ],
    [
      'the variables of Services',
      'Deployment',
      'bridge',
      pod((spec) => delete spec.enableServiceLinks),
      /bridge: gets the variables of Services/,
    ],
    [
      'a spool on the root',
      'Deployment',
      'api',
      container(({ volumeMounts }) => volumeMounts.pop()),
      /api: may write to \/tmp$/,
    ],
    [
      'a version that stops before the next is current',
      'Deployment',
      'worker-commerce',
      (spec) => (spec.minReadySeconds = 10),
      /worker-commerce: may stop the version that is current/,
    ],
    [
      'more bridges than partitions',
      'ScaledObject',
      'bridge',
      (spec) => (spec.maxReplicaCount = 7),
      /ScaledObject bridge: runs more than 6/,
    ],
    [
      'as many slots as follow from the node',
      'Deployment',
      'bridge',
      withoutVariable('BRIDGE_MAX_IN_FLIGHT'),
      /bridge: takes its slots from the processors of the node/,
    ],
    [
      'the other side’s task queue',
      'ScaledObject',
      'worker-commerce',
      (spec) => (spec.triggers[0].metadata.taskQueue = 'collector'),
      /watches what worker-commerce does not take/,
    ],
    [
      'a lag that is asked for without TLS',
      'ScaledObject',
      'bridge',
      (spec) => delete spec.triggers[0].metadata.tls,
      /ScaledObject bridge: connects with tls disable instead of enable/,
    ],
    [
      'another mechanism than the pods have',
      'ScaledObject',
      'bridge',
      (spec) => (spec.triggers[0].metadata.sasl = 'plaintext'),
      /ScaledObject bridge: connects with sasl plaintext instead of scram_sha512/,
    ],
    [
      'tasks of another namespace',
      'ScaledObject',
      'worker-commerce',
      (spec) => (spec.triggers[0].metadata.namespace = 'default'),
      /ScaledObject worker-commerce: connects with namespace default instead of commerce/,
    ],
    [
      'scaling that does not sign in',
      'ScaledObject',
      'worker-collector',
      (spec) => delete spec.triggers[0].authenticationRef,
      /ScaledObject worker-collector: signs in without apiKey/,
    ],
    [
      'scaling that signs in with the Secret of another',
      'TriggerAuthentication',
      'bridge',
      (spec) => (spec.secretTargetRef[0].name = 'migrate'),
      /bridge: signs in with KAFKA_SASL_USERNAME of migrate, which bridge does not read/,
    ],
    [
      'a policy that cuts a process off',
      'NetworkPolicy',
      'bridge',
      (spec) => spec.egress[0].ports.pop() && spec.egress[0].ports.pop(),
      /bridge: may not reach port 7233/,
    ],
    [
      'pods of another process',
      'PodDisruptionBudget',
      'api',
      (spec) => (spec.selector.matchLabels['app.kubernetes.io/name'] = 'commerce-bridge'),
      /PodDisruptionBudget api: chooses bridge/,
    ],
    [
      'a metric that nobody collects',
      'ServiceMonitor',
      'bridge',
      (spec) => (spec.endpoints[0].port = 'http'),
      /Prometheus collects/,
    ],
    [
      'metrics for everybody',
      'Ingress',
      'api',
      (spec) => (spec.rules[0].http.paths[0].path = '/'),
      /Ingress api: \/ is for nobody outside/,
    ],
  ])('%s', (_, kind, name, change, problem) => {
    expect(disagreements(changed(kind, name, change))).toContainEqual(
      expect.stringMatching(problem),
    );
  });

  it('a field that no schema has, and a value that none allows', () => {
    const misspelt = changed('Deployment', 'api', (spec) => {
      spec.stratgy = spec.strategy;
      spec.template.spec.containers[0].livenessProbe.periodSecond = 1;
    });
    const mistaken = changed('ScaledObject', 'bridge', (spec) => (spec.maxReplicaCount = 'six'));

    expect(wrongFieldsOf(misspelt)).toEqual(
      expect.arrayContaining([expect.stringMatching(/Deployment api: .*(stratgy|periodSecond)/)]),
    );
    expect(wrongValuesOf(mistaken)).toEqual([
      expect.stringMatching(/ScaledObject bridge: .*integer/),
    ]);
  });
});
