/**
 * Servers that require TLS and a password: one of each kind, beside those of the test run, with
 * certificates of their own CA.
 */
import { once } from 'node:events';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import {
  connect,
  constants,
  createSecureServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runCommand } from '../cluster/command';
import { startDaemon, stopDaemon, type Launch } from '../cluster/daemon';
import { findFreePorts, type ClusterPorts } from '../cluster/local-cluster';
import { loopback } from '../cluster/ports';
import type { Server, ServerContext } from '../cluster/server';
import { kafka } from '../cluster/servers/kafka';
import { postgres } from '../cluster/servers/postgres';
import { redis } from '../cluster/servers/redis';
import { createAuthority, type Identity } from './certificates';

/** Running servers. */
export interface SecuredServers {
  /** The environment with which processes can connect to all of them. */
  readonly environment: ReturnType<typeof environmentOf>;
  /** Redis with an administrator's credentials, for tests only. */
  readonly redisAdministratorUrl: string;
  /** A file with the certificate of a CA that has signed none of the servers. */
  readonly strangerFile: string;
  /** Stops the servers and deletes their data. */
  stop(): Promise<void>;
}

/** The users that the servers know. */
const users = {
  redis: { name: 'shop', password: 'redis-password' },
  redisAdministrator: { name: 'administrator', password: 'administrator-password' },
  kafka: { name: 'shop', password: 'kafka-password' },
  apiKey: 'temporal-key',
} as const;

/** Starts them all. @param temporalAddress the server without TLS behind the TLS proxy */
export async function startSecuredServers(temporalAddress: string): Promise<SecuredServers> {
  const directory = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-secured-'));
  await chmod(directory, 0o755);
  const stops: (() => Promise<unknown>)[] = [() => rm(directory, { recursive: true, force: true })];
  const stop = async (): Promise<void> => {
    for (const each of stops.toReversed()) await each();
  };
  try {
    const authority = await createAuthority('authority of the servers');
    const place: Place = {
      directory,
      ports: await findFreePorts(),
      files: {
        authority: path.join(directory, 'authority.pem'),
        certificate: path.join(directory, 'server.pem'),
        key: path.join(directory, 'server-key.pem'),
        both: path.join(directory, 'server-both.pem'),
      },
      onStop: (work) => stops.push(work),
    };
    const identity = await authority.issue({ ips: [loopback], names: ['temporal.test'] });
    const stranger = await createAuthority('somebody else');
    const strangerFile = path.join(directory, 'stranger.pem');
    await Promise.all([
      writeFile(place.files.authority, authority.certificate),
      writeFile(place.files.certificate, identity.certificate),
      writeFile(place.files.key, identity.key, { mode: 0o600 }),
      writeFile(place.files.both, identity.key + identity.certificate, { mode: 0o600 }),
      writeFile(strangerFile, stranger.certificate),
    ]);
    const [temporalPort] = await Promise.all([
      startTemporalProxy(place, identity, temporalAddress),
      startPostgres(place),
      startRedis(place),
      startKafka(place),
    ]);
    return {
      environment: environmentOf(place, temporalPort),
      redisAdministratorUrl: redisUrl(place, users.redisAdministrator),
      strangerFile,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

interface Place {
  readonly directory: string;
  readonly ports: ClusterPorts;
  readonly files: Readonly<Record<'authority' | 'certificate' | 'key' | 'both', string>>;
  onStop(work: () => Promise<unknown>): void;
}

function environmentOf({ ports, files }: Place, temporalPort: number) {
  const tls = `?sslmode=verify-full&sslrootcert=${encodeURIComponent(files.authority)}`;
  return {
    DATABASE_URL: `postgres://commerce:commerce@${loopback}:${ports.postgres}/commerce${tls}`,
    REDIS_URL: redisUrl({ ports }, users.redis),
    REDIS_TLS_CA_FILE: files.authority,
    KAFKA_BROKERS: `${loopback}:${ports.kafka}`,
    KAFKA_SSL: 'true',
    KAFKA_SSL_CA_FILE: files.authority,
    KAFKA_SASL_MECHANISM: 'scram-sha-512',
    KAFKA_SASL_USERNAME: users.kafka.name,
    KAFKA_SASL_PASSWORD: users.kafka.password,
    TEMPORAL_ADDRESS: `${loopback}:${temporalPort}`,
    TEMPORAL_TLS_ENABLED: 'true',
    TEMPORAL_TLS_CA_FILE: files.authority,
    TEMPORAL_TLS_SERVER_NAME: 'temporal.test',
    TEMPORAL_API_KEY: users.apiKey,
  };
}

function redisUrl(
  { ports }: Pick<Place, 'ports'>,
  { name, password }: { readonly name: string; readonly password: string },
): string {
  return `rediss://${name}:${password}@${loopback}:${ports.redis}`;
}

/**
 * Prepares a server as the local cluster does, and starts it with the launch that `secure` returns.
 */
async function launch(
  place: Place,
  server: Server,
  secure: (prepared: Launch, folder: string) => Promise<Launch>,
): Promise<void> {
  const folder = path.join(place.directory, server.name);
  await mkdir(folder);
  const context: ServerContext = {
    directory: folder,
    ports: place.ports,
    report: () => undefined,
    signal: new AbortController().signal,
  };
  const prepared = await server.prepare(await server.find(context), context);
  const pidFile = path.join(folder, 'process.json');
  const files = { pidFile, logFile: path.join(folder, 'server.log') };
  place.onStop(() => stopDaemon(pidFile, server.stopSignal, 20_000));
  await startDaemon(await secure(prepared, folder), files, {});
}

async function startPostgres(place: Place): Promise<void> {
  const { files } = place;
  await launch(place, postgres, async (prepared) => {
    const { user, cwd: data } = prepared;
    const key = path.join(place.directory, 'postgres-key.pem');
    await copyFile(files.key, key);
    if (user !== undefined) await chown(key, user.uid, user.gid);
    // Connections without TLS are rejected before authentication.
    const rules = path.join(data!, 'pg_hba.conf');
    await writeFile(rules, 'hostssl all all 127.0.0.1/32 scram-sha-256\n');
    const settings = { ssl: 'on', ssl_cert_file: files.certificate, ssl_key_file: key };
    const added = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    return { ...prepared, parameters: [...prepared.parameters, ...added] };
  });
}

async function startRedis(place: Place): Promise<void> {
  const { files, ports } = place;
  await launch(place, redis, async (prepared, folder) => {
    const { name, password } = users.redis;
    const userFile = path.join(folder, 'users.acl');
    const settings = {
      port: 0,
      'tls-port': ports.redis,
      'tls-cert-file': files.certificate,
      'tls-key-file': files.key,
      'tls-ca-cert-file': files.authority,
      'tls-auth-clients': 'no',
      aclfile: userFile,
    };
    // The privileges of docs/decisions/0013-transport-and-credentials.md.
    const rights = '~product:* ~product-lease:* +eval +get +set +del +unlink +pttl +ping +info';
    const administrator = users.redisAdministrator;
    const lines = [
      'user default off',
      `user ${name} on >${password} ${rights}`,
      `user ${administrator.name} on >${administrator.password} ~* +@all`,
    ];
    await writeFile(userFile, `${lines.join('\n')}\n`);
    const added = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
    return { ...prepared, parameters: [...prepared.parameters, ...added] };
  });
}

// The local cluster's has neither TLS nor users, and users must be there before the first start.
async function startKafka(place: Place): Promise<void> {
  const { files, ports } = place;
  const { name, password } = users.kafka;
  await launch(place, kafka, async (prepared, folder) => {
    const configuration = path.join(folder, 'server.properties');
    const logs = path.join(folder, 'secured-data');
    const client = `CLIENT://${loopback}:${ports.kafka}`;
    const brokers = `BROKER://${loopback}:${ports.payments}`;
    const settings = {
      'process.roles': 'broker,controller',
      'node.id': 1,
      'controller.quorum.voters': `1@${loopback}:${ports.kafkaController}`,
      'controller.listener.names': 'CONTROLLER',
      listeners: `${client},${brokers},CONTROLLER://${loopback}:${ports.kafkaController}`,
      'advertised.listeners': `${client},${brokers}`,
      'inter.broker.listener.name': 'BROKER',
      'listener.security.protocol.map': 'CLIENT:SASL_SSL,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'sasl.enabled.mechanisms': 'SCRAM-SHA-256,SCRAM-SHA-512',
      ...Object.fromEntries(
        ['scram-sha-256', 'scram-sha-512'].map((mechanism) => [
          `listener.name.client.${mechanism}.sasl.jaas.config`,
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
        ]),
      ),
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': files.both,
      'log.dirs': logs,
      'auto.create.topics.enable': false,
      'group.initial.rebalance.delay.ms': 0,
      'offsets.topic.replication.factor': 1,
      'offsets.topic.num.partitions': 5,
      'transaction.state.log.replication.factor': 1,
      'transaction.state.log.min.isr': 1,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    await writeFile(configuration, `${lines.join('\n')}\n`);
    const withUsers = ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password}]`,
    ]);
    const classPath = prepared.parameters[prepared.parameters.indexOf('-cp') + 1]!;
    await runCommand(prepared.program, [
      ...['-cp', classPath, 'kafka.tools.StorageTool', 'format', '-t', 'c2VjdXJlZHNlcnZlcnM'],
      ...['-c', configuration, ...withUsers],
    ]);
    return { ...prepared, parameters: [...prepared.parameters.slice(0, -1), configuration] };
  });
}

/**
 * Temporal's development server supports neither TLS nor API keys: this proxy terminates TLS, and
 * forwards only requests with the key. @returns its port
 */
async function startTemporalProxy(
  place: Place,
  { certificate, key }: Identity,
  temporalAddress: string,
): Promise<number> {
  const behind = connect(`http://${temporalAddress}`);
  const sessions = new Set<ServerHttp2Session>();
  const proxy = createSecureServer({ cert: certificate, key });
  proxy.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
    session.once('close', () => sessions.delete(session));
  });
  proxy.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (headers.authorization === `Bearer ${users.apiKey}`) handOn(stream, headers, behind);
    else refuse(stream);
  });
  proxy.listen(0, loopback);
  await once(proxy, 'listening');
  place.onStop(async () => {
    behind.destroy();
    for (const session of sessions) session.destroy();
    proxy.close();
  });
  return (proxy.address() as AddressInfo).port;
}

// A gRPC error: trailers only.
function refuse(stream: ServerHttp2Stream): void {
  const unauthenticated = { 'grpc-status': '16', 'grpc-message': 'Request unauthorized.' };
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc', ...unauthenticated },
    { endStream: true },
  );
}

function handOn(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  behind: ClientHttp2Session,
): void {
  const onward = behind.request({ ...headers, ':scheme': 'http' });
  let trailers: IncomingHttpHeaders = {};
  onward.on('error', () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
  onward.on('trailers', (received) => (trailers = received));
  onward.on('response', (answer, flags) => {
    if (stream.destroyed) return;
    const isWhole = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    stream.respond(answer, { waitForTrailers: !isWhole, endStream: isWhole });
    if (!isWhole) onward.pipe(stream);
  });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.on('close', () => onward.close());
  stream.pipe(onward);
}
