/**
 * Where manifests for Kubernetes and the rest of the project disagree: what a process is started with, what
 * it reads, where it listens, what it is asked, and how long it takes to stop.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { partitionsPerTopic } from '../../events/topics';
import { taskQueues } from '../../events/workflow-names';
import { probeTimeoutMs } from '../../platform/dependencies/readiness';
import { environmentVariables, readConfig, type Config } from '../../platform/process/config';
import { stopTimeoutMs } from '../../platform/process/lifecycle';
import { allServers, serversOf, type Server } from '../../platform/process/servers';
import { podTemplateOf, type Manifest } from '../../testkit/kustomize';
import { readScrapeConfiguration } from '../../testkit/observability-files';
import { promotionPatienceMs } from '../../workers/promotion';
import { root } from '../docs/markdown';

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

const { services } = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, { command?: string[]; stop_grace_period?: string }>;
};

const processes = ['api', 'worker-commerce', 'worker-collector', 'bridge'];

/** For what comes after a process has told itself to end: the kubelet's and the runtime's part. */
const reserveMs = 5_000;

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly timeoutSeconds: number;
}

interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args: readonly string[];
  readonly env: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly secretKeyRef: SecretKey };
  }[];
  readonly envFrom: readonly { readonly configMapRef?: { readonly name: string } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: object;
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
}

interface SecretKey {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

/** One of our programs as a pod. */
interface Program {
  readonly name: string;
  readonly pod: Manifest['spec'];
  readonly labels: Readonly<Record<string, string>>;
  readonly container: Container;
  readonly variables: Readonly<Record<string, string>>;
  readonly manifest: Manifest;
}

/** What is wrong, each with the name of the manifest; nothing when all agrees. */
export function disagreements(manifests: readonly Manifest[]): string[] {
  const programs = manifests.flatMap((manifest) => programOf(manifest, manifests));
  const misconfigured = programs.flatMap((program) => told(program, checkVariables));
  if (misconfigured.length > 0) return misconfigured;
  return [
    ...processes
      .filter((name) => !programs.some((program) => program.name === name))
      .map((name) => `${name}: is not there`),
    ...programs.flatMap((program) => programChecks.flatMap((check) => told(program, check))),
    ...manifestChecks.flatMap((check) => check(manifests, programs)),
  ];
}

function told(program: Program, check: (program: Program) => string[]): string[] {
  return check(program).map((problem) => `${program.name}: ${problem}`);
}

function programOf(manifest: Manifest, manifests: readonly Manifest[]): Program[] {
  const template = podTemplateOf(manifest);
  const container: Container | undefined = template?.['spec'].containers[0];
  // The local overlay has servers, too.
  if (template === undefined || !/commerce-event-pipeline(:|$)/.test(container?.image ?? ''))
    return [];
  if (container?.args.includes('dist/payments-simulator/main.js')) return [];
  return [
    {
      name: manifest.metadata.name,
      pod: template['spec'],
      labels: template.metadata.labels ?? {},
      container: container!,
      variables: variablesOf(container!, manifests),
      manifest,
    },
  ];
}

/** As the kubelet sets them: from the ConfigMap, and from Secrets no more than the container asks for. */
function variablesOf({ env, envFrom }: Container, manifests: readonly Manifest[]) {
  const shared = envFrom.flatMap(({ configMapRef }) =>
    Object.entries<string>(
      manifests.find(
        ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMapRef?.name,
      )?.['data'] ?? {},
    ),
  );
  const own = env.map(({ name, value, valueFrom }) => [
    name,
    value ?? secretValueOf(valueFrom!.secretKeyRef, manifests),
  ]);
  return Object.fromEntries([
    ...shared,
    ...own.filter(([, value]) => value !== undefined),
  ]) as Record<string, string>;
}

/** Where the Secrets are made elsewhere, every key is taken as there, the optional ones as well. */
function secretValueOf(
  { name, key }: SecretKey,
  manifests: readonly Manifest[],
): string | undefined {
  const secrets = ofKind(manifests, 'Secret');
  if (secrets.length === 0) return madeElsewhere[key];
  return secrets.find(({ metadata }) => metadata.name === name)?.['stringData'][key];
}

const madeElsewhere: Readonly<Record<string, string>> = {
  DATABASE_URL: 'postgres://user:password@postgres:5432/commerce',
  REDIS_URL: 'rediss://redis:6379',
  API_KEYS: 'shop:shopper:a-secret',
  KAFKA_SASL_USERNAME: 'user',
  KAFKA_SASL_PASSWORD: 'password',
  TEMPORAL_API_KEY: 'a-secret',
  PAYLOAD_ENCRYPTION_KEY: Buffer.alloc(32).toString('base64'),
  // Nobody is told: WEBHOOK_SOLD_OUT_URL is set nowhere.
  WEBHOOK_SECRET: '',
};

/** The configuration as the program itself reads it. */
function configOf({ name, variables }: Program): Config {
  return readConfig(variables, serversAskedFor(name));
}

/** `verify` is a command of the operator's command line: it asks for Kafka alone. */
function serversAskedFor(name: string): readonly Server[] {
  return name === 'verify' ? ['kafka'] : serversOf(programNameOf(name));
}

/** What a program logs with: `worker:commerce` for `worker-commerce`. */
function programNameOf(name: string): string {
  return name.replace('worker-', 'worker:');
}

function sourceOf(file: string): string {
  return existsSync(path.join(root, file)) ? read(file) : '';
}

const programChecks: readonly ((program: Program) => string[])[] = [
  checkCommand,
  checkSecrets,
  checkServers,
  checkListening,
  checkProbes,
  checkGrace,
  checkRights,
  checkVolumes,
  checkVersions,
  checkSlots,
];

function checkCommand({ name, container: { command, args } }: Program): string[] {
  const source = args.find((word) => word.startsWith('dist/')) ?? '';
  const file = source.replace(/^dist\/(.*)\.js$/, '$1.ts');
  const inCompose = services[name]?.command;
  const program = programNameOf(name);
  const itself = [`runProcess('${program}'`, `serversOf('${program}')`];
  const isNamed = name === 'verify' || itself.some((words) => sourceOf(file).includes(words));
  return [
    ...(command === undefined ? [] : ['takes the place of the image’s init']),
    ...(existsSync(path.join(root, file)) ? [] : [`runs ${source}, which is not there`]),
    ...(isNamed ? [] : [`does not read its configuration as ${program}`]),
    ...(inCompose === undefined || inCompose.join(' ') === args.join(' ')
      ? []
      : ['runs another command than in docker-compose.yml']),
  ];
}

function checkVariables(program: Program): string[] {
  const unknown = Object.keys(program.variables).filter(
    (name) => !environmentVariables.includes(name),
  );
  try {
    configOf(program);
  } catch (error) {
    return [...unknown.map((name) => `sets ${name}, which nothing reads`), String(error)];
  }
  return unknown.map((name) => `sets ${name}, which nothing reads`);
}

/** One Secret a process: none can read another's, and nobody but the migration the owner's password. */
function checkSecrets({ name, container: { env, envFrom }, pod }: Program): string[] {
  const named = env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef.name ?? []);
  const foreign = named.filter((secret) => secret !== name);
  const whole = envFrom.filter(({ configMapRef }) => configMapRef === undefined);
  const mounted = (pod.volumes as object[]).filter((volume) => 'secret' in volume);
  const needsDatabase = name !== 'promote' && !env.some((one) => one.name === 'DATABASE_URL');
  return [
    ...foreign.map((secret) => `reads the Secret of ${secret}`),
    ...(whole.length + mounted.length === 0 ? [] : ['takes a whole Secret']),
    ...(needsDatabase ? ['has no DATABASE_URL'] : []),
  ];
}

/** What a server asks a client for. */
const askedOfClients: Readonly<Record<Server, readonly string[]>> = {
  kafka: ['KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'],
  redis: ['REDIS_URL'],
  temporal: ['TEMPORAL_API_KEY'],
};

/** A program has what its own servers ask for, and nothing of what others do. */
function checkServers({ name, container }: Program): string[] {
  const servers = serversAskedFor(name);
  const read = container.env.map((one) => one.name);
  return allServers.flatMap((server) => {
    const isOwn = servers.includes(server);
    return askedOfClients[server]
      .filter((variable) => read.includes(variable) !== isOwn)
      .map((variable) =>
        isOwn ? `has no ${variable}` : `reads ${variable}, and does not speak to ${server}`,
      );
  });
}

function checkListening(program: Program): string[] {
  const { name, container } = program;
  if (!processes.includes(name)) return [];
  const { API_HOST, API_PORT, METRICS_HOST, METRICS_PORT } = configOf(program);
  const [host, port] = name === 'api' ? [API_HOST, API_PORT] : [METRICS_HOST, METRICS_PORT];
  const ports = container.ports?.map(({ containerPort }) => containerPort);
  return [
    ...(host === '0.0.0.0' ? [] : [`listens on ${host} only`]),
    ...(ports?.join() === String(port)
      ? []
      : [`listens on ${port}, and has the port ${ports?.join()}`]),
  ];
}

function checkProbes({ name, container }: Program): string[] {
  if (!processes.includes(name)) return [];
  const asked = { startupProbe: '/healthz', livenessProbe: '/healthz', readinessProbe: '/readyz' };
  const source = read(
    name === 'api' ? 'api/health/routes.ts' : 'platform/observability/prometheus-server.ts',
  );
  return Object.entries(asked).flatMap(([kind, expected]) => {
    const probe = container[kind as keyof typeof asked];
    if (probe === undefined) return [`has no ${kind}`];
    const { httpGet, timeoutSeconds } = probe;
    const served = httpGet.path === expected && source.includes(`'${expected}'`);
    const named = container.ports?.some((port) => port.name === httpGet.port);
    return [
      ...(served ? [] : [`${kind} asks for ${httpGet.path}, not for ${expected}`]),
      ...(named ? [] : [`${kind} asks on ${httpGet.port}, which is no port of it`]),
      // A dependency that hangs is told after probeTimeoutMs: sooner, the pod would seem to.
      ...(timeoutSeconds * 1_000 > probeTimeoutMs + 500
        ? []
        : [`${kind} waits for ${timeoutSeconds} s, and the answer may take ${probeTimeoutMs} ms`]),
    ];
  });
}

function checkGrace({ name, pod, variables }: Program): string[] {
  if (!processes.includes(name)) return [];
  const given = Number(pod.terminationGracePeriodSeconds) * 1_000;
  const drainMs = Number(variables['DRAIN_MS'] ?? 0);
  const needed = stopTimeoutMs + drainMs + reserveMs;
  const inCompose = Number.parseInt(services[name]?.stop_grace_period ?? '0') * 1_000;
  return [
    ...(given >= needed ? [] : [`is given ${given} ms to stop, and may take ${needed}`]),
    ...(given >= inCompose ? [] : [`is given ${given} ms to stop, and ${inCompose} in Compose`]),
  ];
}

function checkRights({ pod, container }: Program): string[] {
  const { runAsNonRoot, runAsUser, seccompProfile } = pod.securityContext ?? {};
  const restricted =
    runAsNonRoot === true && runAsUser > 0 && seccompProfile?.type === 'RuntimeDefault';
  const expected = {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  };
  const bare = JSON.stringify(container.securityContext) === JSON.stringify(expected);
  return [
    ...(restricted && bare ? [] : ['is not restricted']),
    ...(pod.automountServiceAccountToken === false ? [] : ['has a token of the cluster']),
    ...(pod.enableServiceLinks === false ? [] : ['gets the variables of Services, as API_PORT']),
  ];
}

function checkVolumes({ name, pod, container: { volumeMounts } }: Program): string[] {
  const [, spool] = /VIEW_SPOOL_DIR=(\S+)/.exec(read('Dockerfile')) ?? [];
  const expected = name === 'api' ? ['/tmp', spool] : ['/tmp'];
  const places = volumeMounts.map(({ mountPath }) => mountPath);
  const there = (pod.volumes as { name: string; emptyDir?: { sizeLimit?: string } }[])
    .filter(({ emptyDir }) => emptyDir?.sizeLimit !== undefined)
    .map((volume) => volume.name);
  return [
    ...(places.join() === expected.join() ? [] : [`may write to ${places.join()}`]),
    ...volumeMounts
      .filter((mount) => !there.includes(mount.name))
      .map((mount) => `mounts ${mount.name}, which is no bounded volume of it`),
  ];
}

/** The old version works until the new one is current. */
function checkVersions({ name, manifest: { kind, spec } }: Program): string[] {
  if (kind !== 'Deployment') return [];
  const { maxSurge, maxUnavailable } = spec.strategy.rollingUpdate;
  const scaled = spec.replicas === undefined ? [] : ['sets replicas, which are another’s to set'];
  const kept = maxUnavailable === 0 ? [] : ['stops pods before others are ready'];
  if (!name.startsWith('worker-')) return [...scaled, ...kept];
  const beside = maxSurge === '100%' && spec.minReadySeconds * 1_000 > promotionPatienceMs;
  return [...scaled, ...kept, ...(beside ? [] : ['may stop the version that is current'])];
}

/** A pod has a part of the node's processors, and sees all of them. */
function checkSlots(program: Program): string[] {
  if (program.name !== 'bridge' || configOf(program).BRIDGE_MAX_IN_FLIGHT !== undefined) return [];
  return ['takes its slots from the processors of the node'];
}

type ManifestCheck = (manifests: readonly Manifest[], programs: readonly Program[]) => string[];

const manifestChecks: readonly ManifestCheck[] = [
  checkImages,
  checkKeys,
  checkSelectors,
  checkServices,
  checkMonitors,
  checkScaling,
  checkNetwork,
];

const named = ({ kind, metadata }: Manifest): string => `${kind} ${metadata.name}`;
const ofKind = (manifests: readonly Manifest[], kind: string): Manifest[] =>
  manifests.filter((manifest) => manifest.kind === kind);

function checkImages(_: readonly Manifest[], programs: readonly Program[]): string[] {
  const images = new Set(programs.map(({ container }) => container.image));
  return images.size === 1 ? [] : [`the processes are of several images: ${[...images].join()}`];
}

/** A pod does not start without a key that it must have, where its Secret is here. */
function checkKeys(manifests: readonly Manifest[], programs: readonly Program[]): string[] {
  if (ofKind(manifests, 'Secret').length === 0) return [];
  return programs.flatMap(({ name, container: { env } }) =>
    env
      .flatMap(({ valueFrom }) => valueFrom?.secretKeyRef ?? [])
      .filter((key) => key.optional !== true && secretValueOf(key, manifests) === undefined)
      .map(({ key }) => `${name}: its Secret lacks ${key}`),
  );
}

function matches(selector: Readonly<Record<string, string>>, labels: Program['labels']): boolean {
  return Object.entries(selector).every(([name, value]) => labels[name] === value);
}

/** Whoever chooses pods by their labels chooses those of the process of the same name. */
function checkSelectors(manifests: readonly Manifest[], programs: readonly Program[]): string[] {
  const choosing = ['Deployment', 'PodDisruptionBudget', 'Service', 'NetworkPolicy'];
  return manifests
    .filter(({ kind, metadata }) => {
      return choosing.includes(kind) && programs.some(({ name }) => name === metadata.name);
    })
    .flatMap((manifest) => {
      const { kind, spec } = manifest;
      const selector =
        kind === 'Service' ? spec.selector : (spec.selector ?? spec.podSelector).matchLabels;
      const chosen = programs.filter(({ labels }) => matches(selector, labels));
      const names = chosen.map(({ name }) => name).join();
      return names === manifest.metadata.name ? [] : [`${named(manifest)}: chooses ${names}`];
    });
}

function checkServices(manifests: readonly Manifest[], programs: readonly Program[]): string[] {
  const inService = ofKind(manifests, 'Service').flatMap((service) => {
    const program = programs.find(({ name }) => name === service.metadata.name);
    if (program === undefined) return [];
    const ports = program.container.ports?.map(({ name }) => name) ?? [];
    return (service['spec'].ports as { targetPort: string }[])
      .filter(({ targetPort }) => !ports.includes(targetPort))
      .map(({ targetPort }) => `${named(service)}: leads to ${targetPort}, which is no port`);
  });
  const [ingress] = ofKind(manifests, 'Ingress');
  const paths = (ingress?.['spec'].rules[0].http.paths ?? []) as { path: string }[];
  const open = paths.filter((one) => !one.path.startsWith('/v1'));
  return [...inService, ...open.map((one) => `Ingress api: ${one.path} is for nobody outside`)];
}

/** Jobs are called as in Compose, which the alerts and the dashboard name them by. */
function checkMonitors(manifests: readonly Manifest[]): string[] {
  const monitors = ofKind(manifests, 'ServiceMonitor');
  if (monitors.length === 0) return [];
  const jobs = monitors.flatMap(({ spec }) =>
    ofKind(manifests, 'Service')
      .filter(({ metadata, spec: { ports } }) => {
        const named = (ports as { name: string }[]).some(
          ({ name }) => name === spec.endpoints[0].port,
        );
        return named && matches(spec.selector.matchLabels, metadata.labels ?? {});
      })
      .map(({ metadata }) => metadata.labels?.[spec.jobLabel]),
  );
  const expected = readScrapeConfiguration().scrape_configs.map(({ job_name: job }) => job);
  return jobs.toSorted().join() === expected.toSorted().join()
    ? []
    : [`Prometheus collects ${jobs.join()} instead of ${expected.join()}`];
}

function checkScaling(manifests: readonly Manifest[], programs: readonly Program[]): string[] {
  const scalers = [
    ...ofKind(manifests, 'HorizontalPodAutoscaler'),
    ...ofKind(manifests, 'ScaledObject'),
  ];
  const targets = scalers.map(({ spec }) => String(spec.scaleTargetRef.name)).toSorted();
  const all = scalers.length === 0 || targets.join() === processes.toSorted().join();
  return [
    ...(all ? [] : [`what is scaled is ${targets.join()}`]),
    ...ofKind(manifests, 'ScaledObject').flatMap((scaler) =>
      [...checkTriggers(scaler, programs), ...checkSigningIn(scaler, programs, manifests)].map(
        (problem) => `${named(scaler)}: ${problem}`,
      ),
    ),
  ];
}

function checkTriggers({ metadata: { name }, spec }: Manifest, programs: readonly Program[]) {
  const program = programs.find((one) => one.name === name);
  if (program === undefined) return [];
  const config = configOf(program);
  return (spec.triggers as { type: string; metadata: Record<string, string> }[]).flatMap(
    ({ type, metadata }) => {
      const unread = Object.entries(metadata)
        .filter(([key, variable]) => key.endsWith('FromEnv') && !(variable in program.variables))
        .map(([, variable]) => `reads ${variable}, which the pod does not set`);
      const queue: string = taskQueues[name.replace('worker-', '') as keyof typeof taskQueues];
      const wrong =
        (type === 'kafka' && metadata['consumerGroup'] !== config.BRIDGE_GROUP_ID) ||
        (type === 'temporal' && metadata['taskQueue'] !== queue);
      const idle = type === 'kafka' && spec.maxReplicaCount > partitionsPerTopic;
      return [
        ...unread,
        ...(wrong ? [`watches what ${name} does not take`] : []),
        ...(idle ? [`runs more than ${partitionsPerTopic}, one a partition`] : []),
      ];
    },
  );
}

const saslAtKeda = {
  plain: 'plaintext',
  'scram-sha-256': 'scram_sha256',
  'scram-sha-512': 'scram_sha512',
} as const;

interface Trigger {
  readonly type: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly authenticationRef?: { readonly name: string };
}

interface SecretTarget {
  readonly parameter: string;
  readonly name: string;
  readonly key: string;
}

/** KEDA connects by itself: as the process that it scales, and with that process's Secret. */
function checkSigningIn(
  { metadata: { name }, spec }: Manifest,
  programs: readonly Program[],
  manifests: readonly Manifest[],
): string[] {
  const program = programs.find((one) => one.name === name);
  if (program === undefined) return [];
  const config = configOf(program);
  const readsOf = (secret: string): string[] =>
    program.container.env.flatMap((one) =>
      one.valueFrom?.secretKeyRef.name === secret ? [one.name] : [],
    );
  return (spec.triggers as Trigger[]).flatMap(({ type, metadata, authenticationRef }) => {
    const expected = expectedAtKeda(type, config);
    const targets = (ofKind(manifests, 'TriggerAuthentication').find(
      (one) => one.metadata.name === authenticationRef?.name,
    )?.['spec'].secretTargetRef ?? []) as SecretTarget[];
    const given = targets.map(({ parameter }) => parameter);
    return [
      ...Object.entries(expected.metadata)
        .map(([key, value]) => ({ key, value, taken: metadata[key] ?? untold[key] }))
        .filter(({ value, taken }) => taken !== value)
        .map(({ key, value, taken }) => `connects with ${key} ${taken} instead of ${value}`),
      ...expected.parameters
        .filter((parameter) => !given.includes(parameter))
        .map((parameter) => `signs in without ${parameter}`),
      ...targets
        .filter((one) => one.name !== name || !readsOf(one.name).includes(one.key))
        .map((one) => `signs in with ${one.key} of ${one.name}, which ${name} does not read`),
    ];
  });
}

/** What KEDA takes where a trigger says nothing. */
const untold: Readonly<Record<string, string>> = { tls: 'disable', sasl: 'none' };

function expectedAtKeda(
  type: string,
  config: Config,
): { metadata: Readonly<Record<string, string>>; parameters: readonly string[] } {
  const { KAFKA_SASL_MECHANISM: mechanism } = config;
  if (type === 'kafka') {
    const sasl = mechanism === undefined ? 'none' : saslAtKeda[mechanism];
    const tls = config.KAFKA_SSL ? 'enable' : 'disable';
    return { metadata: { tls, sasl }, parameters: mechanism ? ['username', 'password'] : [] };
  }
  if (type !== 'temporal') return { metadata: {}, parameters: [] };
  const { TEMPORAL_NAMESPACE: namespace, TEMPORAL_TLS_ENABLED } = config;
  return { metadata: { namespace }, parameters: TEMPORAL_TLS_ENABLED ? ['apiKey'] : [] };
}

/** With policies, each process may reach the servers that its configuration names. */
function checkNetwork(manifests: readonly Manifest[], programs: readonly Program[]): string[] {
  const policies = ofKind(manifests, 'NetworkPolicy');
  if (policies.length === 0) return [];
  return programs.flatMap((program) => {
    const policy = policies.find(({ metadata }) => metadata.name === program.name);
    if (policy === undefined) return [`${program.name}: has no NetworkPolicy`];
    const open = (policy['spec'].egress as { ports: { port: number }[] }[]).flatMap(({ ports }) =>
      ports.map(({ port }) => port),
    );
    const entered = (policy['spec'].ingress ?? []) as { ports: { port: number }[] }[];
    const ports = program.container.ports?.map(({ containerPort }) => containerPort) ?? [];
    return [
      ...neededPorts(program)
        .filter((port) => !open.includes(port))
        .map((port) => `${program.name}: may not reach port ${port}`),
      ...(entered.flatMap((one) => one.ports.map(({ port }) => port)).join() === ports.join()
        ? []
        : [`${program.name}: is not let in where it listens`]),
    ];
  });
}

function neededPorts(program: Program): number[] {
  const { KAFKA_BROKERS, TEMPORAL_ADDRESS, PAYMENT_GATEWAY_URL } = configOf(program);
  const servers = serversAskedFor(program.name);
  const gateway = new URL(PAYMENT_GATEWAY_URL);
  return [
    ...(program.container.env.some(({ name }) => name === 'DATABASE_URL') ? [5432] : []),
    ...(servers.includes('redis') ? [6379] : []),
    ...(servers.includes('kafka') ? KAFKA_BROKERS.map(portOf) : []),
    ...(servers.includes('temporal') ? [portOf(TEMPORAL_ADDRESS)] : []),
    ...(program.name === 'worker-commerce' ? [Number(gateway.port || 443)] : []),
  ];
}

function portOf(address: string): number {
  return Number(address.split(':').at(-1));
}
