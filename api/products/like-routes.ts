/** Liking and unliking a product. */
import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Services } from '../http/dependencies';
import type { Operation } from '../http/operation';
import { userOf } from '../http/plugins/authorization';
import { problemSchema } from '../http/problem';
import { checkProduct, productCommandProblems, productParams, unknownProduct } from './routes';
import { likeSchema } from './schemas';

/**
 * `PUT` and `DELETE /products/{productId}/like`. Both are idempotent: the
 * users who like a product are a set.
 */
export function likeRoutes(services: Services): FastifyPluginAsyncZod {
  return async (app) => {
    for (const { method, liked, operation } of operations) {
      app.route({
        method,
        url: '/products/:productId/like',
        config: { operation },
        schema: {
          params: productParams,
          body: noBody,
          response: { 200: likeSchema, default: problemSchema },
        },
        handler: async (request) => {
          const { productId } = request.params;
          const userId = userOf(request);
          await checkProduct(services, productId);
          // Fresh for each request: a retry may arrive after the opposite request.
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

const operations: readonly { method: 'PUT' | 'DELETE'; liked: boolean; operation: Operation }[] = [
  {
    method: 'PUT',
    liked: true,
    operation: {
      operationId: 'likeProduct',
      tag: 'Products',
      summary: 'Like a product',
      description: 'Idempotent.',
      key: 'shopper',
      user: 'required',
      problems: productCommandProblems,
      example: { url: '/v1/products/$PRODUCT/like', after: 'PRODUCT' },
    },
  },
  {
    method: 'DELETE',
    liked: false,
    operation: {
      operationId: 'unlikeProduct',
      tag: 'Products',
      summary: 'Unlike a product',
      description: 'Idempotent.',
      key: 'shopper',
      user: 'required',
      problems: productCommandProblems,
      example: { url: '/v1/products/$PRODUCT/like', after: 'PRODUCT' },
    },
  },
];
