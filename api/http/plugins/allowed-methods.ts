/** A known path with another method is 405, with `Allow`, instead of 404. */
import { METHODS } from 'node:http';
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { Problem } from '../problem';

declare module 'fastify' {
  interface FastifyInstance {
    /** The paths of the routes, as they were registered. */
    knownPaths: Set<string>;
  }
}

/** Notes the path of every route that is registered after it. */
export const knownPaths = fastifyPlugin(async (app) => {
  app.decorate('knownPaths', new Set<string>());
  app.addHook('onRoute', ({ url }) => void app.knownPaths.add(url));
});

/**
 * Refuses every other method of the paths that are known by now: before a body is read and, like an
 * unknown path, without asking for a key. Needs `knownPaths` before the routes.
 */
export function refuseOtherMethods(app: FastifyInstance): void {
  // CONNECT is no request for a path.
  const methods = METHODS.filter((method) => method !== 'CONNECT');
  for (const method of methods) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method);
  }
  for (const url of app.knownPaths) {
    const allowed = methods.filter((method) => app.hasRoute({ method, url }));
    app.route({
      method: methods.filter((method) => !allowed.includes(method)),
      url,
      schema: { hide: true },
      onRequest: refusal(url, allowed.sort().join(', ')),
      handler: () => undefined,
    });
  }
}

function refusal(url: string, allow: string): onRequestAsyncHookHandler {
  return async ({ method }) => {
    throw new Problem('METHOD_NOT_ALLOWED', {
      detail: `${url} does not take ${method}, but ${allow}. See /docs.`,
      headers: { allow },
    });
  };
}
