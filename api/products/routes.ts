/** Listing products, the product detail, and the commands about products. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { aggregateIdSchema } from '../../events/identifiers';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { pageOrder, pageQuery, readPage } from '../http/pages';
import { problemSchema } from '../http/problem';
import { productCommandRoutes } from './command-routes';
import type { ProductDetail } from './details';
import { productParams, unknownProduct } from './named-product';
import { productDetailSchema, productPage } from './schemas';

/** `GET /products`, `GET /products/{productId}`, and the commands. */
export function productRoutes(services: Services): FastifyPluginAsyncZod {
  const { productDetails, views } = services;
  return async (app) => {
    const { registerProduct, ...changes } = productCommandRoutes;
    for (const route of registerProduct) route.addTo(app, services);

    app.get(
      '/products',
      {
        config: {
          operation: {
            operationId: 'listProducts',
            tag: 'Products',
            summary: 'List products',
            key: 'any',
            user: 'optional',
            problems: databaseProblems,
            example: { url: '/v1/products?limit=2' },
          },
        },
        schema: { querystring: pageQuery, response: { 200: productPage, default: problemSchema } },
      },
      async ({ query }) => readPage(query, byId, (page) => productDetails.list(page)),
    );

    app.get(
      '/products/:productId',
      {
        config: {
          operation: {
            operationId: 'viewProduct',
            tag: 'Products',
            summary: 'Get a product',
            description: 'Counts as a view, by the user in `X-User-Id` if set.',
            key: 'any',
            user: 'optional',
            problems: [...databaseProblems, 'PRODUCT_NOT_FOUND'],
            headers: { 200: ['X-Cache'] },
            example: { url: '/v1/products/$PRODUCT', after: 'PRODUCT' },
          },
        },
        // A HEAD would count as a view.
        exposeHeadRoute: false,
        schema: {
          params: productParams,
          response: { 200: productDetailSchema, default: problemSchema },
        },
      },
      async (request, reply) => {
        const { productId } = request.params;
        const found = await productDetails.find(productId);
        if (found === undefined) throw unknownProduct(productId);
        await views.publish(productId, request.userId);
        reply.header('x-cache', found.cached ? 'hit' : 'miss').type('application/json');
        // Already JSON: a string is sent unchanged.
        return reply.send(found.json as unknown as ProductDetail);
      },
    );

    for (const route of Object.values(changes).flat()) route.addTo(app, services);
  };
}

const byId = pageOrder([aggregateIdSchema], ({ productId }: ProductDetail) => [productId]);
