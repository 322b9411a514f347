/** Restate's own server, from its npm package: started for one round, and gone with its data after it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { logTail } from '../../cluster/daemon';
import { findDistinctFreePorts, loopback } from '../../cluster/ports';
import type { ProcessContext } from '../../platform/process/lifecycle';
import { until } from '../../testkit/until';

/** The name under which the server knows the cluster of Kafka. */
const kafkaCluster = 'kafka';

/** A Kafka topic whose records a handler is invoked with. */
interface Subscription {
  readonly topic: string;
  /** The handler, as `service/handler`. */
  readonly handler: string;
  readonly groupId: string;
}

/** A server that is running. */
export interface RestateServer {
  /** Registers the services that answer at this port. */
  registerDeployment(port: number): Promise<void>;
  /** Has a handler invoked with every record of a topic from where its group stands. */
  subscribe(subscription: Subscription): Promise<void>;
}

/**
 * Starts a server, and stops it and deletes its data when the process stops. It sends no telemetry; but
 * that it asks GitHub for its newest version when it starts, no option of it prevents.
 *
 * @throws Error with the end of its log when it does not answer
 */
export async function startRestateServer(
  brokers: readonly string[],
  { logger, onStop }: Pick<ProcessContext, 'logger' | 'onStop'>,
): Promise<RestateServer> {
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-restate-'));
  onStop("Restate's data", () => rm(directory, { recursive: true, force: true }));
  const [admin, ingress, node] = await findDistinctFreePorts(3);
  const configFile = path.join(directory, 'restate.toml');
  await writeFile(configFile, configuration({ admin, ingress, node } as Ports, directory, brokers));
  const child = await startProgram(configFile, path.join(directory, 'restate.log'));
  onStop("Restate's server", () => end(child));
  const adminUrl = `http://${loopback}:${admin}`;
  await untilHealthy(child, adminUrl, path.join(directory, 'restate.log'));
  logger.info({ pid: child.pid }, "Restate's server is running");
  return {
    registerDeployment: (port) =>
      post(`${adminUrl}/deployments`, { uri: `http://${loopback}:${port}` }),
    subscribe: ({ topic, handler, groupId }) =>
      post(`${adminUrl}/subscriptions`, {
        source: `kafka://${kafkaCluster}/${topic}`,
        sink: `service://${handler}`,
        options: { 'group.id': groupId, 'auto.offset.reset': 'earliest' },
      }),
  };
}

interface Ports {
  readonly admin: number;
  readonly ingress: number;
  readonly node: number;
}

/**
 * What it is told beside addresses makes it faster: two partitions, each with larger
 * batches then; no journal kept of what has ended; and no flush to the disk for every batch of its log,
 * since the Temporal server of these benchmarks does without as well.
 * https://docs.restate.dev/references/server-config
 */
function configuration(
  { admin, ingress, node }: Ports,
  directory: string,
  brokers: readonly string[],
): string {
  const text = JSON.stringify;
  return `
node-name = "bench"
base-dir = ${text(path.join(directory, 'data'))}
listen-mode = "tcp"
bind-address = "${loopback}:${node}"
advertised-address = "http://${loopback}:${node}/"
disable-telemetry = true
log-filter = "error"
default-num-partitions = 2
default-journal-retention = "0s"

[bifrost.local]
rocksdb-disable-wal-fsync = true

[admin]
bind-address = "${loopback}:${admin}"
advertised-address = "http://${loopback}:${admin}/"
disable-web-ui = true

[ingress]
bind-address = "${loopback}:${ingress}"
advertised-address = "http://${loopback}:${ingress}/"

[[ingress.kafka-clusters]]
name = "${kafkaCluster}"
brokers = ${text(brokers.map((broker) => `PLAINTEXT://${broker}`))}
`;
}

async function startProgram(configFile: string, logFile: string): Promise<ChildProcess> {
  const log = await open(logFile, 'a');
  try {
    const child = spawn(serverProgram(), ['--no-logo', '--config-file', configFile], {
      stdio: ['ignore', log.fd, log.fd],
    });
    await once(child, 'spawn');
    return child;
  } finally {
    await log.close();
  }
}

async function untilHealthy(child: ChildProcess, adminUrl: string, logFile: string): Promise<void> {
  try {
    await until('Restate answers', async () => {
      if (child.exitCode !== null) throw new Error(`It has ended with ${child.exitCode}.`);
      return (await fetch(`${adminUrl}/health`)).ok;
    });
  } catch (cause) {
    const message = `Restate's server did not start. The end of its log:\n${await logTail(logFile)}`;
    throw new Error(message, { cause });
  }
}

/** The program itself: the package's command is a script that would stand between it and its signals. */
function serverProgram(): string {
  const name = `@restatedev/restate-server-${process.platform}-${process.arch}`;
  const description = require.resolve(`${name}/package.json`);
  return path.join(path.dirname(description), 'bin', 'restate-server');
}

async function post(url: string, body: object): Promise<void> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.ok) return;
  throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
}

const stopWithinMs = 3_000;

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), stopWithinMs);
  await exited;
  clearTimeout(timer);
}
