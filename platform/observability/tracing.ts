/**
 * Traces: what makes one request one trace on its way through HTTP, Temporal and Kafka. Only the
 * interface of OpenTelemetry is used here; it records nothing unless trace-recording.ts has
 * been told to. A trace that somebody else has begun is passed on in either case, as W3C asks for.
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

/** The header that carries a trace in HTTP and in Kafka: https://www.w3.org/TR/trace-context/ */
export const traceparentHeader = 'traceparent';

/** What the active work belongs to, as fields of a log line; none when it belongs to no trace. */
export function traceLogFields(): { readonly trace_id?: string; readonly span_id?: string } {
  const spanContext = trace.getSpanContext(context.active());
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return {};
  return { trace_id: spanContext.traceId, span_id: spanContext.spanId };
}

/** The `traceparent` of the active work, for whoever carries it on; undefined when it has no trace. */
export function currentTraceparent(): string | undefined {
  return traceparentOf(context.active());
}

/** A header with the trace of the active work; no header when it has none. */
export function currentTraceHeaders(): Record<string, string> {
  return headersOf(currentTraceparent());
}

/** Work to be done within a trace that came from elsewhere. */
export interface ContinuedWork {
  /** What it is, such as `publish StockAdjusted`. */
  readonly name: string;
  readonly kind: 'server' | 'producer' | 'consumer';
  readonly attributes?: Attributes;
}

/**
 * Does work as a part of the trace of a `traceparent`. Of several, none can be the parent: the work is
 * a trace of its own then, linked to each of them.
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
 * The headers for a message that is sent now and belongs to the trace in which it was written.
 *
 * @param traceparent of that trace; undefined when there is none
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

/** Begins a span for work that comes from a carrier's trace, if it carries one. The caller ends it. */
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
 * Has the active trace survive waiting, and travel in W3C's header. Once a process.
 *
 * @param options whether traces are recorded, so that work outside of any trace begins one
 */
export function passTracesOn(options: { readonly recording: boolean }): void {
  recording = options.recording;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
}

/**
 * Carries the active trace into the workflows that a client starts. A start outside of any trace is
 * left as it is, unless traces are recorded: then it begins one.
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
