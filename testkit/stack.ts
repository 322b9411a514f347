/**
 * A whole pipeline for one test file: real processes against the real servers of the test run, with
 * a database, topics and a Temporal namespace of its own, so that no test sees another's events.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Client, Connection } from '@temporalio/client';
import type { Kafka } from 'kafkajs';
import type { Pool } from 'pg';
import { createCluster, type Cluster } from '../cluster/local-cluster';
import { findDistinctFreePorts } from '../cluster/ports';
import { deadLetterTopicOf, eventTopics } from '../events/topics';
import { migrateDatabase, migrateTopics } from '../migrations/migrate';
import { migrateSearchAttributes } from '../migrations/search-attributes';
import { reportsReady } from '../platform/dependencies/readiness';
import { readConfig, type Config } from '../platform/process/config';
import { pollUntil } from '../platform/process/waiting';
import { createKafka, type KafkaClient } from '../platform/kafka/client';
import { kafkajsOf } from '../platform/kafka/kafkajs';
import { createLogger } from '../platform/observability/logger';
import { createPool } from '../platform/postgres/pool';
import { createRedis, type RedisConnection } from '../platform/redis/client';
import type { ProcessKind } from '../platform/observability/telemetry';
import { createTemporalClient } from '../platform/temporal/client';
import { rememberProcess } from './child-processes';
import { createConformanceCheck, type ConformanceCheck } from './openapi-conformance';
import { until } from './until';

/** The processes that a stack can run. */
export type ProcessName = ProcessKind | 'collector';

/** A running pipeline. */
export interface Stack {
  readonly config: Config;
  readonly cluster: Cluster;
  readonly pool: Pool;
  readonly redis: RedisConnection;
  /** The project's client; what tests do with it as kafkajs' own, they do as somebody else. */
  readonly kafka: Kafka & KafkaClient;
  readonly temporal: Client;
  /**
   * Starts a process and waits until its `/readyz` says that it is ready. Several of one name may run.
   *
   * @param folder of another version of the project
   * @throws Error with what it has written, when it ends before it is ready or takes too long
   */
  start(
    name: ProcessName,
    environment?: Readonly<Record<string, string>>,
    folder?: string,
  ): Promise<RunningProcess>;
  /** Starts a process without waiting for it: one that is to die at once, or that cannot become ready. */
  launch(
    name: ProcessName,
    environment?: Readonly<Record<string, string>>,
  ): Promise<RunningProcess>;
  /** The processes of a name that are running. */
  running(name: ProcessName): RunningProcess[];
  /** The processes that have exited though nobody had told them to, each with what it wrote last. */
  exitedUnasked(): string[];
  /** What a process of the stack is started with. */
  readonly environment: Readonly<Record<string, string>>;
  /** What processes that are started from now on get on top of it. */
  readonly later: Record<string, string>;
  /** Where the API answers that was started last; empty before. */
  apiUrl(): string;
  /**
   * Calls the API. `as` is the role whose development key is used.
   *
   * @throws NonconformingAnswerError for an answer that the API's description does not allow
   */
  call(method: string, route: string, options?: CallOptions): Promise<ApiAnswer>;
  /**
   * Stops every process and forgets the stack's database.
   *
   * @throws AggregateError when answers were not as the API's description allows, whoever caught that
   */
  stop(): Promise<void>;
}

/** One process of a stack. */
export interface RunningProcess {
  readonly name: ProcessName;
  readonly pid: number;
  /** Where it serves its readiness and its metrics; the API all of its routes. */
  readonly url: string;
  /** Everything that it has written so far. */
  output(): string;
  signal(signal: NodeJS.Signals): void;
  /** Ends it and waits until it has ended. @returns its exit code, or null when it was killed */
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

/** What to send. */
export interface CallOptions {
  readonly as?: 'operator' | 'shopper';
  readonly userId?: string;
  readonly body?: unknown;
  readonly idempotencyKey?: string;
  /** How long to wait for an answer, in ms. */
  readonly timeoutMs?: number;
}

/** What came back. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  // The tests read what they expect; a wrong shape fails their expectations.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any;
}

/** A busy machine may need long to start a process, which says nothing about the pipeline. */
const startTimeoutMs = 120_000;

const root = path.join(__dirname, '..');

const entries: Readonly<Record<ProcessName, string>> = {
  api: 'api/main.ts',
  bridge: 'bridge/main.ts',
  'worker:commerce': 'workers/commerce.ts',
  'worker:collector': 'workers/collector.ts',
  collector: 'workers/collector-with-bridge.ts',
};

/** Makes everything that a stack needs and starts the named processes. */
export async function createStack(
  names: readonly ProcessName[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Stack> {
  const name = `test_${randomUUID().replaceAll('-', '').slice(0, 12)}`;
  const cluster = createCluster();
  const overrides = {
    ...cluster.environment,
    // What is left in it belongs to other topics than those of the next stack.
    VIEW_SPOOL_DIR: path.join(cluster.directory, 'view-spools', name),
    ...environment,
    DATABASE_URL: await createDatabase({ ...cluster.environment, ...environment }, name),
    TEMPORAL_NAMESPACE: name,
    API_PORT: '0',
  };
  const config = readConfig({ ...process.env, ...overrides });
  const logger = createLogger('test', 'fatal');
  const kafka = kafkajsOf(createKafka(config, logger, { clientId: 'test' }));
  const temporal = createTemporalClient(config);
  const redis = createRedis(config.REDIS_URL, logger, { caFile: config.REDIS_TLS_CA_FILE });
  await Promise.all([
    migrateDatabase(config.DATABASE_URL, logger),
    remakeTopics(kafka, () =>
      migrateTopics(kafka, logger, { knownBrokers: config.KAFKA_BROKERS.length }),
    ),
    registerNamespace(temporal, name),
    once(redis, 'ready').then(() => redis.flushall()),
  ]);
  const pool = createPool(config.DATABASE_URL, logger, { applicationName: 'test' });
  const processes: StartedProcess[] = [];
  const ports = new Set<string>();
  let apiUrl = '';
  let check: ConformanceCheck = () => undefined;
  const faults: unknown[] = [];

  const later: Record<string, string> = {};

  const launch = async (
    processName: ProcessName,
    more: Readonly<Record<string, string>> = {},
    folder = root,
  ): Promise<StartedProcess> => {
    const variable = processName === 'api' ? 'API_PORT' : 'METRICS_PORT';
    const port = more[variable] ?? (await takeFreePort(ports));
    const environment = { ...process.env, ...overrides, ...later, ...more, [variable]: port };
    const url = `http://127.0.0.1:${port}`;
    const started = startProcess(processName, { environment, url, folder });
    processes.push(started);
    return started;
  };

  const stack: Stack = {
    config,
    environment: overrides,
    later,
    cluster,
    pool,
    redis,
    kafka,
    temporal,
    async start(processName, more, folder) {
      const started = await launch(processName, more, folder);
      await untilReady(started);
      if (processName === 'api') {
        apiUrl = started.url;
        check = recordingFaults(await readConformanceCheck(apiUrl), faults);
      }
      return started;
    },
    launch: (processName, more) => launch(processName, more),
    running: (processName) =>
      processes.filter((each) => each.name === processName && isAlive(each)),
    exitedUnasked: () => processes.flatMap((each) => each.unaskedExit() ?? []),
    apiUrl: () => apiUrl,
    call: (method, route, options = {}) => call(apiUrl + route, method, options, check),
    async stop() {
      await Promise.all(processes.map((each) => each.end('SIGKILL')));
      await Promise.all([pool.end(), redis.quit(), temporal.connection.close()]);
      await rm(config.VIEW_SPOOL_DIR, { recursive: true, force: true });
      if (faults.length > 0) throw new AggregateError(faults, String(faults[0]));
    },
  };
  try {
    await Promise.all(names.map((each) => stack.start(each)));
  } catch (error) {
    await stack.stop();
    throw error;
  }
  return stack;
}

async function createDatabase(
  { DATABASE_URL: url }: { readonly DATABASE_URL: string },
  name: string,
): Promise<string> {
  const admin = createPool(url, createLogger('test', 'fatal'), { applicationName: 'test-setup' });
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const own = new URL(url);
  own.pathname = `/${name}`;
  return own.href;
}

/** Topics are named by contract: a stack of its own means topics made anew. */
async function remakeTopics(kafka: Kafka, make: () => Promise<void>): Promise<void> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const ours = eventTopics.flatMap((topic) => [topic, deadLetterTopicOf(topic)]);
    const existing = (await admin.listTopics()).filter((topic) => ours.includes(topic));
    if (existing.length > 0) await admin.deleteTopics({ topics: existing });
    await until('the old topics are gone', async () => {
      const left = await admin.listTopics();
      return !ours.some((topic) => left.includes(topic));
    });
    // A group remembers its offsets beyond the topic that they were in.
    const groups = (await admin.listGroups()).groups.map(({ groupId }) => groupId);
    await Promise.allSettled(groups.map((group) => admin.deleteGroups([group])));
  } finally {
    await admin.disconnect();
  }
  await make();
}

/** Makes a Temporal namespace that takes the project's search attributes. */
export async function registerNamespace(client: Client, namespace: string): Promise<void> {
  await client.workflowService.registerNamespace({
    namespace,
    workflowExecutionRetentionPeriod: { seconds: (24 * 3600) as never },
  });
  const connection = client.connection as Connection;
  await migrateSearchAttributes(connection, namespace, createLogger('test', 'fatal'));
}

interface StartOptions {
  readonly environment: NodeJS.ProcessEnv;
  readonly url: string;
  readonly folder: string;
}

function startProcess(
  name: ProcessName,
  { environment, url, folder }: StartOptions,
): StartedProcess {
  const child = rememberProcess(
    spawn(process.execPath, ['--require', './typescript.cjs', entries[name]], {
      cwd: folder,
      env: { ...environment, LOG_LEVEL: 'info' },
      // Over the channel the process notices when the tests are gone, and stops.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    }),
  );
  let output = '';
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout!.on('data', collect);
  child.stderr!.on('data', collect);
  let asked = false;
  return {
    name,
    pid: child.pid!,
    url,
    ending: () => child.exitCode ?? child.signalCode ?? undefined,
    unaskedExit() {
      if (asked || child.exitCode === null) return undefined;
      return `${name} exited with ${child.exitCode}. The end of its output:\n${output.slice(-2_000)}`;
    },
    output: () => output,
    signal(signal) {
      asked ||= signal !== 'SIGSTOP' && signal !== 'SIGCONT';
      child.kill(signal);
    },
    end(signal = 'SIGTERM') {
      asked = true;
      return endProcess(child, signal);
    },
  };
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exited = once(child, 'exit');
  child.kill(signal);
  // A frozen process takes no signal but this one.
  if (signal === 'SIGKILL') child.kill('SIGCONT');
  await exited;
  return child.exitCode;
}

function isAlive({ pid }: RunningProcess): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

interface StartedProcess extends RunningProcess {
  /** How it has ended: its exit code or the signal; `undefined` while it runs. */
  ending(): number | NodeJS.Signals | undefined;
  /** That it has exited by itself; `undefined` where it has not, or was killed. */
  unaskedExit(): string | undefined;
}

/** Processes that start at the same moment must not be given the same port. */
async function takeFreePort(taken: Set<string>): Promise<string> {
  for (;;) {
    const port = String((await findDistinctFreePorts(1))[0]);
    if (taken.has(port)) continue;
    taken.add(port);
    return port;
  }
}

async function untilReady(started: StartedProcess): Promise<void> {
  const isReady = (): Promise<boolean> => {
    const ending = started.ending();
    if (ending !== undefined) throw notReady(started, `has ended with ${ending}`);
    return reportsReady(started.url);
  };
  const isInTime = await pollUntil(isReady, { timeoutMs: startTimeoutMs, pollMs: 50 });
  if (!isInTime) throw notReady(started, `is not ready after ${startTimeoutMs / 1_000} s`);
}

function notReady({ name, output }: RunningProcess, problem: string): Error {
  return new Error(`${name} ${problem}. The end of its output:\n${output().slice(-8_000)}`);
}

const developmentKeys = { operator: 'dev-operator-key', shopper: 'dev-shopper-key' };

async function readConformanceCheck(apiUrl: string): Promise<ConformanceCheck> {
  const response = await fetch(`${apiUrl}/openapi.json`);
  return createConformanceCheck((await response.json()) as object);
}

function recordingFaults(check: ConformanceCheck, faults: unknown[]): ConformanceCheck {
  return (...answer) => {
    try {
      check(...answer);
    } catch (error) {
      // Whoever waits for a good answer would try again.
      faults.push(error);
      throw error;
    }
  };
}

async function call(
  url: string,
  method: string,
  { as = 'operator', userId, body, idempotencyKey, timeoutMs = 60_000 }: CallOptions,
  check: ConformanceCheck,
): Promise<ApiAnswer> {
  const response = await fetch(url, {
    method,
    signal: AbortSignal.timeout(timeoutMs),
    headers: {
      authorization: `Bearer ${developmentKeys[as]}`,
      ...(userId === undefined ? {} : { 'x-user-id': userId }),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const { status, headers } = response;
  const json = text === '' ? undefined : (JSON.parse(text) as unknown);
  check(method, url, { status, contentType: headers.get('content-type'), body: json });
  return { status, headers, body: json };
}
