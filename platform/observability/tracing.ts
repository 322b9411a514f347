/**
 * Trace propagation through HTTP, Temporal and Kafka. Uses only the OpenTelemetry API, which records
 * nothing unless trace-recording.ts is on. Incoming trace context is propagated either way, as W3C
 * requires.
 */
import {
  context,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OpenTelemetryWorkflowClientInterceptor } from '@temporalio/interceptors-opentelemetry/lib/client';
import type {
  Next,
  WorkflowClientInterceptor,
  WorkflowStartInput,
  WorkflowStartUpdateWithStartInput,
} from '@temporalio/client';

/** The trace context header of HTTP and Kafka messages: https://www.w3.org/TR/trace-context/ */
export const traceparentHeader = 'traceparent';

/** Trace and span ID of the active context, as log fields; empty without a trace. */
export function traceLogFields(): { readonly trace_id?: string; readonly span_id?: string } {
  const spanContext = trace.getSpanContext(context.active());
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return {};
  return { trace_id: spanContext.traceId, span_id: spanContext.spanId };
}

/** The `traceparent` of the active context; undefined without a trace. */
export function currentTraceparent(): string | undefined {
  return traceparentOf(context.active());
}

/** The `traceparent` header of the active context; empty without a trace. */
export function currentTraceHeaders(): Record<string, string> {
  return headersOf(currentTraceparent());
}

/** A unit of work within a remote trace. */
export interface ContinuedWork {
  /** Span name, such as `publish StockAdjusted`. */
  readonly name: string;
  readonly kind: 'server' | 'producer' | 'consumer';
  readonly attributes?: Attributes;
}

/**
 * Runs `work` in a span whose parent is the `traceparent`. With several, it starts a new trace with a
 * link to each.
 */
export async function continueTrace<T>(
  traceparents: readonly (string | undefined)[],
  work: ContinuedWork,
  run: () => Promise<T>,
): Promise<T> {
  const origins = traceparents.flatMap((each) => (each === undefined ? [] : [contextOf(each)]));
  const [only, ...others] = origins;
  const parent = others.length === 0 ? (only ?? ROOT_CONTEXT) : ROOT_CONTEXT;
  const links = others.length === 0 ? [] : linksTo(origins);
  const span = startSpan(work, parent, links);
  try {
    return await context.with(trace.setSpan(parent, span), run);
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
    throw error;
  } finally {
    span.end();
  }
}

/**
 * The headers of a message that belongs to the trace in which it was written.
 *
 * @param traceparent of that trace; undefined without one
 */
export function publicationHeaders(
  traceparent: string | undefined,
  work: Omit<ContinuedWork, 'kind'>,
): Record<string, string> {
  if (traceparent === undefined) return {};
  const parent = contextOf(traceparent);
  const span = startSpan({ ...work, kind: 'producer' }, parent);
  span.end();
  return headersOf(traceparentOf(trace.setSpan(parent, span)));
}

/** Starts a span whose parent is the carrier's trace, if any. The caller ends it. */
export function beginServerSpan(
  carrier: Readonly<Record<string, unknown>>,
  name: string,
): { readonly span: Span; readonly active: Context } {
  const parent = propagation.extract(ROOT_CONTEXT, carrier);
  const span = startSpan({ name, kind: 'server' }, parent);
  return { span, active: trace.setSpan(parent, span) };
}

let recording = false;

/**
 * Sets up async context and W3C propagation. Call once a process.
 *
 * @param options whether traces are recorded, so that work without a trace starts one
 */
export function passTracesOn(options: { readonly recording: boolean }): void {
  recording = options.recording;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
}

/**
 * Propagates the active trace to the workflows that a client starts. Without an active trace, a start
 * begins one if traces are recorded.
 */
export class TraceClientInterceptor
  extends OpenTelemetryWorkflowClientInterceptor
  implements WorkflowClientInterceptor
{
  override async start(
    input: WorkflowStartInput,
    next: Next<WorkflowClientInterceptor, 'start'>,
  ): Promise<string> {
    return hasTrace() ? super.start(input, next) : next(input);
  }

  override async startWithDetails(
    input: WorkflowStartInput,
    next: Next<WorkflowClientInterceptor, 'startWithDetails'>,
  ): ReturnType<OpenTelemetryWorkflowClientInterceptor['startWithDetails']> {
    return hasTrace() ? super.startWithDetails(input, next) : next(input);
  }

  override async startUpdateWithStart(
    input: WorkflowStartUpdateWithStartInput,
    next: Next<WorkflowClientInterceptor, 'startUpdateWithStart'>,
  ): ReturnType<OpenTelemetryWorkflowClientInterceptor['startUpdateWithStart']> {
    return hasTrace() ? super.startUpdateWithStart(input, next) : next(input);
  }
}

function hasTrace(): boolean {
  return recording || currentTraceparent() !== undefined;
}

const spanKinds = {
  server: SpanKind.SERVER,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

function startSpan(
  { name, kind, attributes = {} }: ContinuedWork,
  parent: Context,
  links: { context: SpanContext }[] = [],
): Span {
  const tracer = trace.getTracer('commerce-event-pipeline');
  return tracer.startSpan(name, { kind: spanKinds[kind], attributes, links }, parent);
}

function linksTo(origins: readonly Context[]): { context: SpanContext }[] {
  return origins.flatMap((origin) => {
    const spanContext = trace.getSpanContext(origin);
    return spanContext === undefined ? [] : [{ context: spanContext }];
  });
}

function contextOf(traceparent: string): Context {
  return propagation.extract(ROOT_CONTEXT, { [traceparentHeader]: traceparent });
}

function traceparentOf(active: Context): string | undefined {
  const carrier: Record<string, string> = {};
  propagation.inject(active, carrier);
  return carrier[traceparentHeader];
}

function headersOf(traceparent: string | undefined): Record<string, string> {
  return traceparent === undefined ? {} : { [traceparentHeader]: traceparent };
}
