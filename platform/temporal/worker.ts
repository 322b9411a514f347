/**
 * Temporal's runtime for workers. Separate from client.ts, so that processes without a worker do not
 * load the native runtime.
 */
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import {
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  type LogLevel,
  type PrometheusMetricsExporter,
} from '@temporalio/worker';
import { LoggerWithComposedMetadata } from '@temporalio/common/lib/logger';
import type { Config } from '../process/config';
import type { Logger } from '../observability/logger';
import { addMetricsSource } from '../observability/telemetry';
import { temporalConnectionOptions } from './client';

/** A worker's connection. @throws TransportError when the server is unreachable */
export function connectWorker(config: Config): Promise<NativeConnection> {
  return NativeConnection.connect(temporalConnectionOptions(config));
}

export interface TemporalRuntimeOptions {
  /** Whether the runtime collects metrics, served with this process's own. */
  readonly metrics: boolean;
}

/** Forwards the logs of Temporal's runtime to the logger. Call once a process, before its first worker. */
export async function installTemporalRuntime(
  logger: Logger,
  { metrics }: TemporalRuntimeOptions,
): Promise<void> {
  dropDetailedLines();
  Runtime.install({
    logger: new DefaultLogger(leastLevel, ({ level, message, meta }) => {
      const isExpected = expectedWarnings.has(message);
      logger[isExpected ? 'debug' : levels[level]](toLogFields(meta), message);
    }),
    telemetryOptions: {
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }) },
      ...(metrics ? { metrics: { prometheus: await countForPrometheus() } } : {}),
    },
    // lifecycle.ts handles the signals and the order of shutdown.
    shutdownSignals: [],
  });
}

/** Another one has to change what is dropped below, and in lean-sandbox/thread.cjs. */
const leastLevel = 'INFO';

/**
 * Of each line of its own the SDK composes the fields, and keeps it for a tenth of a second to put it in
 * order, before the logger drops what is below its level: a ninth of what the main thread does for a
 * workflow. The lean sandbox leaves those of workflows out as well. Exported for its test.
 */
export function dropDetailedLines(): void {
  const drop = (): void => undefined;
  Object.assign(LoggerWithComposedMetadata.prototype, { trace: drop, debug: drop });
}

// Of each worker that is there for activities alone.
const expectedWarnings = new Set(['No workflows registered, not polling for workflow tasks']);

/** Fields of our own lines at the top level; the others nested. */
function toLogFields(meta: Readonly<Record<string, unknown>> = {}): object {
  const { eventId, workflowId, runId, trace_id, span_id, ...temporal } = meta;
  return { eventId, workflowId, runId, trace_id, span_id, temporal };
}

// The native runtime exposes its metrics only through its own server.
async function countForPrometheus(): Promise<PrometheusMetricsExporter['prometheus']> {
  const bindAddress = `127.0.0.1:${await findFreePort()}`;
  addMetricsSource(async () => {
    const response = await fetch(`http://${bindAddress}/metrics`, {
      signal: AbortSignal.timeout(1_000),
    });
    return response.text();
  });
  return {
    bindAddress,
    countersTotalSuffix: true,
    unitSuffix: true,
    useSecondsForDurations: true,
  };
}

async function findFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

// The runtime's INFO, such as a worker's state changes, is our debug.
const levels: Record<LogLevel, 'trace' | 'debug' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'debug',
  WARN: 'warn',
  ERROR: 'error',
};
