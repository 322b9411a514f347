/** Security headers on every answer: helmet's defaults, and a route's own content security policy. */
import fastifyPlugin from 'fastify-plugin';
import helmet, { type HelmetOptions } from 'helmet';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Sets the route's headers in place of the defaults; made by {@link headersWithPolicy}. */
    readonly securityHeaders?: SecurityHeaders;
  }
}

type SecurityHeaders = ReturnType<typeof helmet>;

/** Helmet's headers with this content security policy. */
export function headersWithPolicy(
  contentSecurityPolicy: NonNullable<HelmetOptions['contentSecurityPolicy']>,
): SecurityHeaders {
  return helmet({ contentSecurityPolicy });
}

/** Sets the headers of every request. Register it before whatever may answer. */
export const securityHeaders = fastifyPlugin(async (app) => {
  // Helmet builds its headers here, once: for each request that costs as much as a read of the cache.
  const defaults = helmet();
  app.addHook('onRequest', (request, reply, done) => {
    const setHeaders = request.routeOptions.config.securityHeaders ?? defaults;
    setHeaders(request.raw, reply.raw, done as (error?: unknown) => void);
  });
});
