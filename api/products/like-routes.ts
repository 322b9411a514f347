/** Liking a product, and liking it no more. */
import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Services } from '../http/dependencies';
import { requireRole, requireUser, userOf } from '../http/plugins/authentication';
import { problemSchema } from '../http/problem';
import { checkProduct, productParams, unknownProduct } from './routes';
import { likeSchema } from './schemas';

/**
 * `PUT` and `DELETE /products/{productId}/like`. Who likes a product is a set, so sending either
 * again is harmless and answers where the like stands.
 */
export function likeRoutes(services: Services): FastifyPluginAsyncZod {
  return async (app) => {
    for (const [method, liked] of [
      ['PUT', true],
      ['DELETE', false],
    ] as const) {
      app.route({
        method,
        url: '/products/:productId/like',
        onRequest: [requireRole('shopper'), requireUser],
        schema: {
          params: productParams,
          body: noBody,
          response: { 200: likeSchema, default: problemSchema },
        },
        handler: async (request) => {
          const { productId } = request.params;
          const userId = userOf(request);
          await checkProduct(services, productId);
          // Fresh for each request: one that is sent again may come after the opposite one.
          const requestId = randomUUID();
          const outcome = await services.commands.changeLike({
            requestId,
            productId,
            userId,
            liked,
          });
          if (outcome.kind === 'unknown-product') throw unknownProduct(productId);
          return { liked, likeCount: outcome.likeCount };
        },
      });
    }
  };
}

const noBody = z.strictObject({}).nullish();
