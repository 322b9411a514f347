/** How each of the project's servers says no, and what is to be changed then. */
import { connect, type ConnectionOptions } from 'node:tls';
import { isGrpcServiceError } from '@temporalio/client';
import { Redis } from 'ioredis';
import {
  KafkaJSError,
  KafkaJSProtocolError,
  KafkaJSSASLAuthenticationError,
  type Kafka,
} from 'kafkajs';
import { DatabaseError, type Pool } from 'pg';
import { AccessRefusedError, certificateRefusal, type Door } from './startup-checks';
import type { Config } from '../process/config';
import type { DatabaseRole } from '../postgres/pool';
import { redisOptions } from '../redis/client';
import { createTemporalClient, temporalConnectionOptions } from '../temporal/client';

/** PostgreSQL, and whether connections of the pool are in the role that they should be in. */
export function postgresDoor(pool: Pool, role?: DatabaseRole): Door {
  return {
    server: 'PostgreSQL',
    async open() {
      try {
        const { rows } = await pool.query<{ role: string }>('SELECT current_user AS role');
        if (role !== undefined && rows[0]?.role !== role) throw new RoleNotTakenError(role);
      } catch (error) {
        throw postgresRefusal(error) ?? error;
      }
    },
  };
}

/** Redis. */
export function redisDoor(config: Config): Door {
  return { server: 'Redis', open: () => openRedis(config) };
}

/** Kafka. */
export function kafkaDoor(kafka: Kafka): Door {
  return {
    server: 'Kafka',
    async open() {
      const admin = kafka.admin({ retry: { retries: 0 } });
      try {
        await admin.connect();
      } catch (error) {
        throw kafkaRefusal(error) ?? error;
      } finally {
        await admin.disconnect();
      }
    },
  };
}

/** Temporal. */
export function temporalDoor(config: Config): Door {
  return {
    server: 'Temporal',
    async open() {
      // gRPC keeps what was wrong with a certificate to itself.
      await shakeHandsWithTemporal(config);
      const client = createTemporalClient(config);
      try {
        await client.withDeadline(Date.now() + answerWithinMs, () =>
          client.workflowService.getSystemInfo({}),
        );
      } catch (error) {
        throw temporalRefusal(error) ?? error;
      } finally {
        await client.connection.close();
      }
    },
  };
}

/** A refusal of PostgreSQL, Kafka or Temporal in other words; undefined when the error is none. */
export function toRefusal(error: unknown): AccessRefusedError | undefined {
  return (
    kafkaRefusal(error) ??
    temporalRefusal(error) ??
    (error instanceof Error ? postgresRefusal(error) : undefined)
  );
}

const answerWithinMs = 2_000;

/** The connection is not in its role: something between us and PostgreSQL dropped the option. */
class RoleNotTakenError extends AccessRefusedError {
  constructor(role: DatabaseRole) {
    const message =
      `PostgreSQL did not put the connection into the role ${role}: what DATABASE_URL leads to, such as ` +
      'a pooler, drops the start-up parameter "options". Have it handed on, or connect directly.';
    super('DATABASE_ROLE_REFUSED', message, undefined);
  }
}

// https://www.postgresql.org/docs/18/errcodes-appendix.html
function postgresRefusal(error: unknown): AccessRefusedError | undefined {
  if (error instanceof AccessRefusedError) return error;
  if (!(error instanceof DatabaseError)) return postgresTlsRefusal(error);
  const { code, message, routine } = error;
  switch (code) {
    case '28P01':
    case '28000':
      return new AccessRefusedError(
        'CREDENTIALS_REFUSED',
        `PostgreSQL refuses DATABASE_URL: ${message}. Correct its user, its password or its sslmode.`,
        error,
      );
    case '3D000':
      return new AccessRefusedError(
        'DATABASE_MISSING',
        `PostgreSQL refuses DATABASE_URL: ${message}. Create it and run npm run migrate, or correct the name.`,
        error,
      );
    case '42501':
    case '22023':
      // Both codes have many reasons; the messages, which tell them apart, come in many languages.
      return routine === settingRefusedBy ? roleRefusal(error) : undefined;
    default:
      return undefined;
  }
}

// Where PostgreSQL refuses the value of a setting of text; the only one that we make is the role.
const settingRefusedBy = 'call_string_check_hook';

function roleRefusal(error: DatabaseError): AccessRefusedError {
  const role = /"(.*)"/.exec(error.message)?.[1] ?? 'its role';
  const remedy =
    error.code === '22023'
      ? 'Run npm run migrate first, which makes it.'
      : `Give this process a user that may: GRANT ${role} TO that user, and name it in DATABASE_URL.`;
  return new AccessRefusedError(
    'DATABASE_ROLE_REFUSED',
    `PostgreSQL does not let the user of DATABASE_URL work as ${role}: ${error.message}. ${remedy}`,
    error,
  );
}

function postgresTlsRefusal(error: unknown): AccessRefusedError | undefined {
  if (String(error).includes('does not support SSL')) {
    const message = 'PostgreSQL does not speak TLS, which the sslmode in DATABASE_URL asks for.';
    return new AccessRefusedError('CERTIFICATE_NOT_TRUSTED', message, error);
  }
  const remedy =
    "In DATABASE_URL, sslrootcert must name the certificate of the server's authority, and the host be one that the server's certificate is for.";
  return certificateRefusal('PostgreSQL', remedy, error);
}

// With a connection of its own: the process's one reconnects by itself, whatever the answer is.
async function openRedis(config: Config): Promise<void> {
  const redis = new Redis(config.REDIS_URL, {
    ...redisOptions({ caFile: config.REDIS_TLS_CA_FILE }),
    lazyConnect: true,
    retryStrategy: () => null,
  });
  // The rejected call only says that the connection is closed; why is told here.
  let reason: unknown;
  redis.on('error', (error) => (reason ??= error));
  try {
    await redis.connect();
    await redis.ping();
  } catch (error) {
    throw redisRefusal(reason) ?? redisRefusal(error) ?? reason ?? error;
  } finally {
    redis.disconnect();
  }
}

function redisRefusal(error: unknown): AccessRefusedError | undefined {
  if (error === undefined) return undefined;
  const { message } = error as Error;
  if (/^(WRONGPASS|NOAUTH|NOPERM|ERR AUTH)\b/.test(message)) {
    const remedy =
      'Correct the user or the password in REDIS_URL, or the rights that Redis gives it.';
    return new AccessRefusedError(
      'CREDENTIALS_REFUSED',
      `Redis refuses REDIS_URL: ${message}. ${remedy}`,
      error,
    );
  }
  const remedy = "REDIS_TLS_CA_FILE must hold the certificate of the server's authority.";
  return certificateRefusal('Redis', remedy, error);
}

function kafkaRefusal(error: unknown): AccessRefusedError | undefined {
  if (!(error instanceof KafkaJSError)) return undefined;
  // Wrapped when kafkajs has given up trying.
  const cause = error.cause instanceof KafkaJSError ? error.cause : error;
  const isUnknownMechanism =
    cause instanceof KafkaJSProtocolError && cause.type === 'UNSUPPORTED_SASL_MECHANISM';
  if (isUnknownMechanism || cause instanceof KafkaJSSASLAuthenticationError) {
    const names = 'KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM';
    return new AccessRefusedError(
      'CREDENTIALS_REFUSED',
      `Kafka refuses our user: ${cause.message}. Correct ${names}.`,
      error,
    );
  }
  const remedy =
    "KAFKA_SSL_CA_FILE must hold the certificate of the brokers' authority, and KAFKA_BROKERS the hosts that their certificates are for.";
  return certificateRefusal('Kafka', remedy, cause);
}

// As the enumeration of gRPC's codes has them.
const permissionDenied = 7;
const unauthenticated = 16;

function temporalRefusal(error: unknown): AccessRefusedError | undefined {
  if (!isGrpcServiceError(error)) return undefined;
  if (![permissionDenied, unauthenticated].includes(error.code)) return undefined;
  return new AccessRefusedError(
    'CREDENTIALS_REFUSED',
    `Temporal refuses us: ${error.details} Correct TEMPORAL_API_KEY, or TEMPORAL_TLS_CERT_FILE and TEMPORAL_TLS_KEY_FILE.`,
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
      "TEMPORAL_TLS_CA_FILE must hold the certificate of the server's authority, and TEMPORAL_TLS_SERVER_NAME or TEMPORAL_ADDRESS a name that the server's certificate is for.";
    throw certificateRefusal('Temporal', remedy, error) ?? error;
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
