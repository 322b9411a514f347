/**
 * Temporal's runtime for workers. Apart from temporal.ts, so that processes without a worker do
 * not load the native runtime.
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
import type { Config } from '../process/config';
import type { Logger } from '../observability/logger';
import { addMetricsSource } from '../observability/telemetry';
import { temporalConnectionOptions } from './client';

/** A worker's connection. @throws TransportError when the server cannot be reached */
export function connectWorker(config: Config): Promise<NativeConnection> {
  return NativeConnection.connect(temporalConnectionOptions(config));
}

/** Options of the runtime. */
export interface TemporalRuntimeOptions {
  /** Whether the runtime counts too; what it counts is then served with this process's metrics. */
  readonly metrics: boolean;
}

/** Sends the log lines of Temporal's runtime to ours. Once a process, before its first worker. */
export async function installTemporalRuntime(
  logger: Logger,
  { metrics }: TemporalRuntimeOptions,
): Promise<void> {
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      logger[levels[level]](toLogFields(meta), message);
    }),
    telemetryOptions: {
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }) },
      ...(metrics ? { metrics: { prometheus: await countForPrometheus() } } : {}),
    },
    // lifecycle.ts decides when a process stops, and in which order.
    shutdownSignals: [],
  });
}

/** The fields that every line of ours has, where ours have them; the others apart. */
function toLogFields(meta: Readonly<Record<string, unknown>> = {}): object {
  const { eventId, workflowId, runId, trace_id, span_id, ...temporal } = meta;
  return { eventId, workflowId, runId, trace_id, span_id, temporal };
}

// The native runtime can only hand its metrics over through a server of its own.
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

// What the runtime tells at INFO, such as each state of a worker, is for whoever debugs a worker.
const levels: Record<LogLevel, 'trace' | 'debug' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'debug',
  WARN: 'warn',
  ERROR: 'error',
};
