/** The startup check of each server: how it rejects a connection, and what to change then. */
import { connect, type ConnectionOptions } from 'node:tls';
import { isGrpcServiceError } from '@temporalio/client';
import { DatabaseError, type Pool } from 'pg';
import { ConnectionRejectedError, certificateRejection, type StartupCheck } from './startup-checks';
import type { KafkaClient } from '../kafka/client';
import { connectionFailureOf, tryConnection } from '../kafka/connection';
import type { Config } from '../process/config';
import { NoServerAvailableError, refusesStartupParameter } from '../postgres/hosts';
import type { DatabaseRole } from '../postgres/pool';
import { openRedis } from '../redis/client';
import { createTemporalClient, temporalConnectionOptions } from '../temporal/client';

/** PostgreSQL; also checks that the pool's connections have the role. */
export function postgresStartupCheck(pool: Pool, role?: DatabaseRole): StartupCheck {
  return {
    server: 'PostgreSQL',
    async run() {
      try {
        const { rows } = await pool.query<{ role: string }>('SELECT current_user AS role');
        if (role !== undefined && rows[0]?.role !== role) throw new RoleNotAppliedError(role);
      } catch (error) {
        throw postgresRejection(error) ?? error;
      }
    },
  };
}

export function redisStartupCheck(config: Config): StartupCheck {
  return { server: 'Redis', run: () => checkRedis(config) };
}

export function kafkaStartupCheck(kafka: KafkaClient): StartupCheck {
  return {
    server: 'Kafka',
    async run() {
      try {
        await tryConnection(kafka);
      } catch (error) {
        throw kafkaRejection(error) ?? error;
      }
    },
  };
}

export function temporalStartupCheck(config: Config): StartupCheck {
  return {
    server: 'Temporal',
    async run() {
      // gRPC hides what is wrong with a certificate.
      await shakeHandsWithTemporal(config);
      const client = createTemporalClient(config);
      try {
        await client.withDeadline(Date.now() + answerWithinMs, () =>
          client.workflowService.getSystemInfo({}),
        );
      } catch (error) {
        throw temporalRejection(error) ?? error;
      } finally {
        await client.connection.close();
      }
    },
  };
}

/** A rejection by PostgreSQL, Kafka or Temporal, explained; undefined for any other error. */
export function toConnectionRejection(error: unknown): ConnectionRejectedError | undefined {
  return (
    kafkaRejection(error) ??
    temporalRejection(error) ??
    (error instanceof Error ? postgresRejection(error) : undefined)
  );
}

const answerWithinMs = 2_000;

/** The connection does not have its role: something between us and PostgreSQL dropped the option. */
class RoleNotAppliedError extends ConnectionRejectedError {
  constructor(role: DatabaseRole) {
    const message =
      `PostgreSQL ignored the role ${role}: something behind DATABASE_URL, such as ` +
      'a pooler, drops the start-up parameter "options". Configure it to pass the parameter on, or connect directly.';
    super('DATABASE_ROLE_REJECTED', message, undefined);
  }
}

// https://www.postgresql.org/docs/18/errcodes-appendix.html
function postgresRejection(error: unknown): ConnectionRejectedError | undefined {
  if (error instanceof ConnectionRejectedError) return error;
  if (error instanceof NoServerAvailableError) return firstRejection(error);
  if (refusesStartupParameter(error)) return startupParameterRejection(error);
  if (!(error instanceof DatabaseError)) return postgresTlsRejection(error);
  const { code, message, routine } = error;
  switch (code) {
    case '28P01':
    case '28000':
      return new ConnectionRejectedError(
        'CREDENTIALS_REJECTED',
        `PostgreSQL rejects DATABASE_URL: ${message}. Correct its user, password or sslmode.`,
        error,
      );
    case '3D000':
      return new ConnectionRejectedError(
        'DATABASE_MISSING',
        `PostgreSQL rejects DATABASE_URL: ${message}. Create the database and run npm run migrate, or correct its name.`,
        error,
      );
    case '42501':
    case '22023':
      // Both codes have many causes, and their messages are localised.
      return routine === settingRejectedBy ? roleRejection(error) : undefined;
    default:
      return undefined;
  }
}

function firstRejection({ failures }: NoServerAvailableError): ConnectionRejectedError | undefined {
  return [...failures.values()].map(postgresRejection).find((rejection) => rejection !== undefined);
}

function startupParameterRejection(error: DatabaseError): ConnectionRejectedError {
  const remedy =
    'A pooler behind DATABASE_URL refuses what every connection of ours sets as it begins. Let it pass on ' +
    'options, statement_timeout and idle_in_transaction_session_timeout, or name PostgreSQL itself.';
  return new ConnectionRejectedError(
    'STARTUP_PARAMETER_REJECTED',
    `DATABASE_URL does not lead to a usable session: ${error.message}. ${remedy}`,
    error,
  );
}

// Where PostgreSQL rejects the value of a text setting; the only one that we set is the role.
const settingRejectedBy = 'call_string_check_hook';

function roleRejection(error: DatabaseError): ConnectionRejectedError {
  const role = /"(.*)"/.exec(error.message)?.[1] ?? 'its role';
  const remedy =
    error.code === '22023'
      ? 'Run npm run migrate first, which creates it.'
      : `GRANT ${role} TO the user of DATABASE_URL, or name a user that has it.`;
  return new ConnectionRejectedError(
    'DATABASE_ROLE_REJECTED',
    `PostgreSQL denies the user of DATABASE_URL the role ${role}: ${error.message}. ${remedy}`,
    error,
  );
}

function postgresTlsRejection(error: unknown): ConnectionRejectedError | undefined {
  if (String(error).includes('does not support SSL')) {
    const message = 'PostgreSQL does not support TLS, which the sslmode in DATABASE_URL requires.';
    return new ConnectionRejectedError('CERTIFICATE_NOT_TRUSTED', message, error);
  }
  const remedy =
    "In DATABASE_URL, sslrootcert must name the CA certificate of the server, and the host must match the server's certificate.";
  return certificateRejection('PostgreSQL', remedy, error);
}

// On a separate connection: the process's own one reconnects whatever the answer is.
async function checkRedis(config: Config): Promise<void> {
  const transport = { caFile: config.REDIS_TLS_CA_FILE };
  const never = { lazyConnect: true, retryAfterMs: () => null };
  const redis = openRedis(config.REDIS_URL, transport, never);
  // The failed call only says that the connection is closed; this event says why.
  let reason: unknown;
  redis.on('error', (error: Error) => (reason ??= causeOf(error)));
  try {
    await redis.connect();
    await redis.ping();
    if (!redis.isCluster) assertNoCluster(await redis.info('cluster'));
  } catch (error) {
    throw redisRejection(reason) ?? redisRejection(error) ?? reason ?? error;
  } finally {
    redis.disconnect();
  }
}

// A cluster's error only says that no node knows the slots.
function causeOf(error: Error & { readonly lastNodeError?: unknown }): unknown {
  return error.lastNodeError ?? error;
}

// Each command would be redirected to another node, which a connection to one cannot follow.
function assertNoCluster(info: string): void {
  if (!info.includes('cluster_enabled:1')) return;
  const message =
    'REDIS_URL leads to a node of a Redis Cluster: begin it with redis+cluster:// (rediss+cluster:// for TLS).';
  throw new ConnectionRejectedError('SERVER_KIND_WRONG', message, undefined);
}

function redisRejection(error: unknown): ConnectionRejectedError | undefined {
  if (error === undefined || error instanceof ConnectionRejectedError) return error;
  const { message } = error as Error;
  // Of a sentinel it is told in a sentence.
  if (/\b(WRONGPASS|NOAUTH|NOPERM|ERR AUTH)\b/.test(message)) {
    const remedy =
      'Correct the user or the password in REDIS_URL, or the permissions of that user.';
    return new ConnectionRejectedError(
      'CREDENTIALS_REJECTED',
      `Redis rejects REDIS_URL: ${message}. ${remedy}`,
      error,
    );
  }
  if (message.includes('cluster support disabled')) {
    const text =
      'REDIS_URL names a Redis Cluster, and the server is none: begin it with redis:// or redis+sentinel://.';
    return new ConnectionRejectedError('SERVER_KIND_WRONG', text, error);
  }
  const remedy = 'REDIS_TLS_CA_FILE must hold the CA certificate of the server.';
  return certificateRejection('Redis', remedy, error);
}

function kafkaRejection(error: unknown): ConnectionRejectedError | undefined {
  const failure = connectionFailureOf(error);
  if (failure === undefined) return undefined;
  const { cause } = failure;
  if (failure.rejectsCredentials) {
    const names = 'KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM';
    return new ConnectionRejectedError(
      'CREDENTIALS_REJECTED',
      `Kafka rejects the credentials: ${cause.message}. Correct ${names}.`,
      error,
    );
  }
  const remedy =
    "KAFKA_SSL_CA_FILE must hold the CA certificate of the brokers, and the hosts in KAFKA_BROKERS must match the brokers' certificates.";
  return certificateRejection('Kafka', remedy, cause);
}

// gRPC status codes.
const permissionDenied = 7;
const unauthenticated = 16;

function temporalRejection(error: unknown): ConnectionRejectedError | undefined {
  if (!isGrpcServiceError(error)) return undefined;
  if (![permissionDenied, unauthenticated].includes(error.code)) return undefined;
  return new ConnectionRejectedError(
    'CREDENTIALS_REJECTED',
    `Temporal rejects the credentials: ${error.details} Correct TEMPORAL_API_KEY, or TEMPORAL_TLS_CERT_FILE and TEMPORAL_TLS_KEY_FILE.`,
    error,
  );
}

async function shakeHandsWithTemporal(config: Config): Promise<void> {
  const { address, tls } = temporalConnectionOptions(config);
  if (typeof tls === 'boolean') return;
  const [host, port] = address.split(':');
  try {
    await shakeHands({
      host,
      port: Number(port),
      servername: tls.serverNameOverride ?? host,
      ca: toBuffer(tls.serverRootCACertificate),
      cert: toBuffer(tls.clientCertPair?.crt),
      key: toBuffer(tls.clientCertPair?.key),
    });
  } catch (error) {
    const remedy =
      "TEMPORAL_TLS_CA_FILE must hold the CA certificate of the server, and TEMPORAL_TLS_SERVER_NAME or TEMPORAL_ADDRESS must match the server's certificate.";
    throw certificateRejection('Temporal', remedy, error) ?? error;
  }
}

function toBuffer(bytes: Uint8Array | undefined): Buffer | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes);
}

function shakeHands(options: ConnectionOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, ALPNProtocols: ['h2'], timeout: answerWithinMs });
    socket.once('secureConnect', () => {
      resolve();
      socket.destroy();
    });
    socket.once('timeout', () => socket.destroy(new Error('no answer to the TLS handshake')));
    socket.once('error', reject);
  });
}
