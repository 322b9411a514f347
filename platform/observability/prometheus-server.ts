/**
 * HTTP server of workers and the bridge: metrics, liveness and readiness. Off unless METRICS_PORT is
 * set.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { checkReadiness, isReady, type Check } from '../dependencies/readiness';
import type { ProcessContext } from '../process/lifecycle';
import { metricsContentType, prepareMetrics, renderMetrics, type ProcessKind } from './telemetry';

export interface MetricsServerOptions {
  /** Kinds of the process; several where it combines them. */
  readonly kinds: readonly ProcessKind[];
  /** The dependencies that `/readyz` probes. */
  readonly checks: readonly Check[];
  /** More fields for `/readyz`, for people; none by default. */
  readonly details?: (() => Promise<object>) | undefined;
}

/** METRICS_PORT is in use or cannot be bound. */
export class MetricsPortError extends Error {
  override readonly name = 'MetricsPortError';
  readonly code = 'METRICS_PORT_UNUSABLE';
}

/**
 * Serves `/metrics`, `/healthz` and `/readyz` until the process stops.
 *
 * @returns whether the server runs; false without METRICS_PORT
 * @throws MetricsPortError when the port cannot be bound
 */
export async function serveMetrics(
  { config, logger, onStop }: Pick<ProcessContext, 'config' | 'logger' | 'onStop'>,
  options: MetricsServerOptions,
): Promise<boolean> {
  const { METRICS_HOST: host, METRICS_PORT: port } = config;
  if (port === undefined) return false;
  const server = createServer((request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      logger.error({ err: error, path: request.url }, 'metrics request failed');
      response.writeHead(500).end();
    });
  });
  const address = await listen(server, host, port);
  prepareMetrics(...options.kinds);
  onStop('the metrics server', () => close(server));
  logger.info(
    { metricsUrl: `http://${urlHost(address)}:${address.port}/metrics` },
    'serving metrics',
  );
  return true;
}

async function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be used (${message})`;
    throw new MetricsPortError(
      `METRICS_PORT: port ${port} on ${host} ${why}. Every process needs a port of its own: set ` +
        'METRICS_PORT to a free one, to 0 for any, or to nothing to serve no metrics.',
      { cause: error },
    );
  }
  return server.address() as AddressInfo;
}

function urlHost({ address, family }: AddressInfo): string {
  return family === 'IPv6' ? `[${address}]` : address;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

async function answer(
  { method, url = '' }: IncomingMessage,
  response: ServerResponse,
  { checks, details }: MetricsServerOptions,
): Promise<void> {
  const path = url.split('?', 1)[0];
  const send = (status: number, type: string, text: string): void => {
    response.writeHead(status, { 'content-type': type }).end(method === 'HEAD' ? undefined : text);
  };
  const sendJson = (status: number, body: object): void =>
    send(status, 'application/json; charset=utf-8', JSON.stringify(body));
  if (method !== 'GET' && method !== 'HEAD') return sendJson(405, { status: 405 });
  switch (path) {
    case '/metrics':
      return send(200, metricsContentType, await renderMetrics());
    case '/healthz':
      return sendJson(200, { status: 'ok' });
    case '/readyz': {
      const readiness = await checkReadiness(checks);
      return sendJson(isReady(readiness) ? 200 : 503, { ...readiness, ...(await details?.()) });
    }
    default:
      return sendJson(404, { status: 404 });
  }
}
