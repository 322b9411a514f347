/** Each request's trace and its duration, from its headers to the end of its answer. */
import { context, SpanStatusCode, type Context, type Span } from '@opentelemetry/api';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { httpRequestDuration } from '../../../platform/observability/telemetry';
import { beginServerSpan } from '../../../platform/observability/tracing';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether an answer of the route goes on for as long as its client stays: it has no duration. */
    readonly lasting?: boolean;
  }
  interface FastifyRequest {
    /** The trace that the request belongs to. */
    traced: { readonly span: Span; readonly active: Context } | undefined;
  }
}

/**
 * Measures every request, and makes it the work that is active in all that it causes. To be
 * registered before every plugin that starts such work.
 */
export const telemetry = fastifyPlugin(async (app) => {
  app.decorateRequest('traced');
  app.addHook('onRequest', (request, _, done) => {
    request.traced = beginServerSpan(request.headers, `${request.method} ${routeOf(request)}`);
    context.with(request.traced.active, done);
  });
  // Reading a body loses what is active: it ends in an event of the connection, not of the request.
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
    // The line about the answer, which is written in a later hook, belongs to the trace.
    context.with(active, done);
  });
});

// A path would make a metric of its own for each product, and one for each probe of a stranger.
function routeOf({ routeOptions }: FastifyRequest): string {
  return routeOptions.url ?? 'unknown';
}
