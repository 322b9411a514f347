/** The dashboard: its public page and files, and its settings. */
import { negotiate } from '@fastify/accept-negotiator';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { eventTypes } from '../../events/schemas';
import { assetPath, createAssetLoader, type Asset, type ContentCoding } from './assets';
import type { Services } from '../http/dependencies';
import { headersWithPolicy } from '../http/plugins/security-headers';
import { Problem, problemSchema } from '../http/problem';
import { settingsSchema } from './schemas';

/** `GET /` and `GET /assets/{file}`, without a key: they hold no data. */
export const dashboardRoutes: FastifyPluginAsyncZod = async (app) => {
  app.get(
    '/',
    { schema: { hide: true }, config: { securityHeaders: headersWithPolicy(pagePolicy) } },
    async (request, reply) => {
      const { page } = await loadAssets();
      return send(page, request, reply.header('cache-control', 'no-cache'));
    },
  );

  app.get(
    `${assetPath}/:file`,
    { schema: { hide: true, params: z.strictObject({ file: z.string() }) } },
    async (request, reply) => {
      const file = (await loadAssets()).files.get(request.params.file);
      if (file === undefined) {
        throw new Problem('NOT_FOUND', { detail: 'No such file. Reload the page.' });
      }
      // The name changes with the content.
      return send(
        file,
        request,
        reply.header('cache-control', 'public, max-age=31536000, immutable'),
      );
    },
  );
};

/** `GET /dashboard/settings`, for operators: what the page must know of this installation. */
export function dashboardSettingsRoutes({
  config,
  demonstration,
}: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/dashboard/settings',
      {
        config: {
          operation: {
            operationId: 'readDashboardSettings',
            tag: 'Pipeline',
            summary: 'Get the settings of the dashboard',
            key: 'operator',
            example: { url: '/v1/dashboard/settings' },
          },
        },
        schema: { response: { 200: settingsSchema, default: problemSchema } },
      },
      async ({ caller }) => ({
        operator: caller.name,
        temporalUiUrl: config.TEMPORAL_UI_URL,
        temporalNamespace: config.TEMPORAL_NAMESPACE,
        eventTypes: [...eventTypes].sort(),
        demonstration: demonstration !== undefined,
      }),
    );
  };
}

// One for all servers of a process: the files are the same.
const loadAssets = createAssetLoader();

// The script's templates are the only source of markup: any other is refused by the browser itself.
const pagePolicy = {
  useDefaults: false,
  directives: {
    'default-src': ["'none'"],
    'script-src': ["'self'"],
    'style-src': ["'self'"],
    'font-src': ["'self'"],
    'img-src': ["'self'"],
    'connect-src': ["'self'"],
    'base-uri': ["'none'"],
    'form-action': ["'none'"],
    'frame-ancestors': ["'none'"],
    'require-trusted-types-for': ["'script'"],
    'trusted-types': ['lit-html'],
  },
};

function send(
  { contentType, bodies }: Asset,
  { headers }: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const offered = Object.keys(bodies) as ContentCoding[];
  const coding = chooseCoding(headers['accept-encoding'], offered);
  reply.type(contentType).header('vary', 'accept-encoding');
  if (coding !== 'identity') reply.header('content-encoding', coding);
  return reply.send(bodies[coding] ?? bodies.identity);
}

function chooseCoding(
  accepted: string | string[] | undefined,
  offered: readonly ContentCoding[],
): ContentCoding {
  if (accepted === undefined) return 'identity';
  const chosen = negotiate(String(accepted), [...offered]);
  return offered.find((coding) => coding === chosen) ?? 'identity';
}
