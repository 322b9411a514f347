/**
 * Tracing of a process: context is always propagated; spans are recorded and exported when
 * OpenTelemetry's own variables ask for it.
 */
import { diag, DiagLogLevel } from '@opentelemetry/api';
import { OTLPTraceExporter as JsonExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { envDetectorSync, Resource } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ConsoleSpanExporter,
  NodeTracerProvider,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { ATTR_SERVICE_NAME } from '@opentelemetry/semantic-conventions';
import type { Config } from '../process/config';
import type { Logger } from './logger';
import { passTracesOn } from './tracing';

export interface RecordedTraces {
  /** Exports spans that were created in the workflow sandbox. */
  readonly processor: SpanProcessor;
  /** The OpenTelemetry resource of the spans. */
  readonly resource: Resource;
  /** Flushes and ends the recording. */
  stop(): Promise<void>;
}

/** Whether the environment turns recording on. */
export function recordsTraces(config: Config): boolean {
  if (config.OTEL_SDK_DISABLED || config.OTEL_TRACES_EXPORTER === 'none') return false;
  return (
    config.OTEL_TRACES_EXPORTER !== undefined ||
    config.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined ||
    config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT !== undefined
  );
}

/**
 * Starts tracing in a process.
 *
 * @param name of the process, such as `bridge`; its service is named after it unless
 * OTEL_SERVICE_NAME says otherwise
 * @returns undefined when context is only propagated
 */
export function startTracing(
  name: string,
  config: Config,
  logger: Logger,
): RecordedTraces | undefined {
  const recording = recordsTraces(config);
  passTracesOn({ recording });
  if (!recording) return undefined;
  return recordTraces(`commerce-${name.replace(':', '-')}`, config, logger);
}

/**
 * Starts recording. OpenTelemetry reads sampling, batching and export settings from the environment
 * itself.
 */
function recordTraces(serviceName: string, config: Config, logger: Logger): RecordedTraces {
  logProblems(logger);
  const resource = new Resource({ [ATTR_SERVICE_NAME]: serviceName })
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
    .merge(envDetectorSync.detect());
  const processor = new BatchSpanProcessor(exporterOf(config));
  const provider = new NodeTracerProvider({ resource, spanProcessors: [processor] });
  // Propagation is already set up.
  provider.register({ contextManager: null, propagator: null });
  return { processor, resource, stop: () => provider.shutdown() };
}

function exporterOf({ OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_PROTOCOL }: Config): SpanExporter {
  if (OTEL_TRACES_EXPORTER === 'console') return new ConsoleSpanExporter();
  return OTEL_EXPORTER_OTLP_PROTOCOL === 'http/json' ? new JsonExporter() : new ProtobufExporter();
}

// Otherwise failed exports would be silent.
function logProblems(logger: Logger): void {
  const log =
    (level: 'warn' | 'debug') =>
    (message: string): void =>
      logger[level]({ openTelemetry: message }, 'traces: OpenTelemetry has something to say');
  diag.setLogger(
    {
      error: log('warn'),
      warn: log('warn'),
      info: log('debug'),
      debug: log('debug'),
      verbose: log('debug'),
    },
    DiagLogLevel.WARN,
  );
}
