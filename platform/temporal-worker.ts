/**
 * Temporal's runtime for workers. Apart from temporal.ts, so that processes without a worker do
 * not load the native runtime.
 */
import {
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  type LogLevel,
} from '@temporalio/worker';
import type { Config } from './config';
import type { Logger } from './logger';
import { temporalConnectionOptions } from './temporal';

/** A worker's connection. @throws TransportError when the server cannot be reached */
export function connectWorker(config: Config): Promise<NativeConnection> {
  return NativeConnection.connect(temporalConnectionOptions(config));
}

/** Sends the log lines of Temporal's runtime to ours. Once a process, before its first worker. */
export function installTemporalRuntime(logger: Logger): void {
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      logger[levels[level]]({ temporal: meta }, message);
    }),
    telemetryOptions: {
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }) },
    },
    // lifecycle.ts decides when a process stops, and in which order.
    shutdownSignals: [],
  });
}

// What the runtime tells at INFO, such as each state of a worker, is for whoever debugs a worker.
const levels: Record<LogLevel, 'trace' | 'debug' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'debug',
  WARN: 'warn',
  ERROR: 'error',
};
