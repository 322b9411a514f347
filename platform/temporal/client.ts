/** Temporal: connection options and the client. What only workers need is in worker.ts. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  type ConnectionLike,
  type GrpcRetryOptions,
  type TLSConfig,
} from '@temporalio/client';
import { readCertificateFile } from '../process/certificates';
import type { Config } from '../process/config';
import { dataConverterOf } from './payload-encryption';
import { TraceClientInterceptor } from '../observability/tracing';

/**
 * A client with its own {@link createTemporalConnection}; close the client's `connection` to release
 * it.
 */
export function createTemporalClient(config: Config): Client {
  return createTemporalClientOn(createTemporalConnection(config), config);
}

/** A client on a shared connection, such as a worker's. */
export function createTemporalClientOn(connection: ConnectionLike, config: Config): Client {
  const { TEMPORAL_NAMESPACE: namespace } = config;
  const interceptors = { workflow: [new TraceClientInterceptor()] };
  return new Client({ connection, namespace, interceptors, ...dataConverterOf(config) });
}

/**
 * A lazy connection that reconnects after each loss. Closing it ends the calls that are being retried;
 * it waits for the next retry of each, at most six seconds.
 */
export function createTemporalConnection(config: Config): Connection {
  const retries = createEndingRetries();
  const connection = Connection.lazy({
    ...temporalConnectionOptions(config),
    channelArgs: reconnectSoon,
    interceptors: [makeGrpcRetryInterceptor(retries)],
  });
  const close = connection.close.bind(connection);
  connection.close = async () => {
    await retries.end();
    await close();
  };
  return connection;
}

// gRPC's default backoff goes up to two minutes: a recovered server would seem unavailable for that
// long.
const reconnectSoon = {
  'grpc.initial_reconnect_backoff_ms': 500,
  'grpc.max_reconnect_backoff_ms': 2_000,
};

/**
 * The SDK's own retries, to be ended before their connection is closed. A retry due after the channel was closed would throw from a
 * timer, uncatchable, and its call would never settle.
 */
export function createEndingRetries(): GrpcRetryOptions & { end(): Promise<void> } {
  const retries = defaultGrpcRetryOptions();
  let isEnding = false;
  let lastTryAt = 0;
  return {
    retryableDecider: (attempt, status) => !isEnding && retries.retryableDecider(attempt, status),
    delayFunction(attempt, status) {
      const delayMs = retries.delayFunction(attempt, status);
      lastTryAt = Math.max(lastTryAt, Date.now() + delayMs);
      return delayMs;
    },
    async end() {
      isEnding = true;
      // Timers may fire a moment late.
      await sleep(Math.max(lastTryAt + 50 - Date.now(), 0));
    },
  };
}

/** Connection options for clients and workers. */
export interface TemporalConnectionOptions {
  readonly address: string;
  readonly tls: TLSConfig | boolean;
  readonly apiKey?: string;
}

/** The configured connection options. @throws ConfigurationError when a certificate file cannot be read */
export function temporalConnectionOptions(config: Config): TemporalConnectionOptions {
  const { TEMPORAL_ADDRESS: address, TEMPORAL_API_KEY: apiKey } = config;
  return { address, tls: tlsOf(config), ...(apiKey === undefined ? {} : { apiKey }) };
}

function tlsOf(config: Config): TLSConfig | boolean {
  if (!config.TEMPORAL_TLS_ENABLED && config.TEMPORAL_API_KEY === undefined) return false;
  const {
    TEMPORAL_TLS_CA_FILE: authority,
    TEMPORAL_TLS_CERT_FILE: certificate,
    TEMPORAL_TLS_KEY_FILE: key,
    TEMPORAL_TLS_SERVER_NAME: serverNameOverride,
  } = config;
  return {
    ...(serverNameOverride === undefined ? {} : { serverNameOverride }),
    ...(authority === undefined
      ? {}
      : { serverRootCACertificate: readCertificateFile('TEMPORAL_TLS_CA_FILE', authority) }),
    ...(certificate === undefined || key === undefined
      ? {}
      : {
          clientCertPair: {
            crt: readCertificateFile('TEMPORAL_TLS_CERT_FILE', certificate),
            key: readCertificateFile('TEMPORAL_TLS_KEY_FILE', key),
          },
        }),
  };
}
