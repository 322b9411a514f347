/** Each request's trace and its duration, from its headers to the end of its answer. */
import { context, SpanStatusCode, type Context, type Span } from '@opentelemetry/api';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { httpRequestDuration } from '../../../platform/observability/telemetry';
import { beginServerSpan } from '../../../platform/observability/tracing';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the answer streams until the client leaves: then its duration is not measured. */
    readonly lasting?: boolean;
  }
  interface FastifyRequest {
    /** The trace that the request belongs to. */
    traced: { readonly span: Span; readonly active: Context } | undefined;
  }
}

/**
 * Measures every request, and makes its span active in all that it causes. Register it before every
 * plugin that starts spans.
 */
export const telemetry = fastifyPlugin(async (app) => {
  app.decorateRequest('traced');
  app.addHook('onRequest', (request, _, done) => {
    request.traced = beginServerSpan(request.headers, `${request.method} ${routeOf(request)}`);
    context.with(request.traced.active, done);
  });
  // Reading the body loses the active context: it ends in an event of the connection.
  app.addHook('preValidation', (request, _, done) => {
    context.with(request.traced?.active ?? context.active(), done);
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { method, traced } = request;
    const { statusCode: status, elapsedTime } = reply;
    const route = routeOf(request);
    if (request.routeOptions.config.lasting !== true) {
      httpRequestDuration.observe({ method, route, status }, elapsedTime / 1_000);
    }
    if (traced === undefined) return done();
    const { span, active } = traced;
    span.setAttributes({
      'http.request.method': method,
      'http.route': route,
      'http.response.status_code': status,
    });
    if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
    // The request log, written in a later hook, belongs to the trace.
    context.with(active, done);
  });
});

// The path would give the metric unbounded cardinality.
function routeOf({ routeOptions }: FastifyRequest): string {
  return routeOptions.url ?? 'unknown';
}
