/** Registering products, listing them, and the product detail. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import type { Services } from '../http/dependencies';
import { commandProblems, databaseProblems } from '../http/operation';
import { storableText } from '../http/input';
import { pageOrder, pageQuery, readPage } from '../http/pages';
import { Problem, problemSchema } from '../http/problem';
import type { ProductDetail } from './details';
import { productDetailSchema, productPage, registeredProduct } from './schemas';

/** `POST /products`, `GET /products`, `GET /products/{productId}`. */
export function productRoutes(services: Services): FastifyPluginAsyncZod {
  const { commands, productDetails, views } = services;
  return async (app) => {
    app.post(
      '/products',
      {
        config: {
          operation: {
            operationId: 'registerProduct',
            tag: 'Products',
            summary: 'Register a product',
            key: 'operator',
            problems: [...databaseProblems, ...commandProblems],
            headers: { 201: ['Location'] },
            example: { url: '/v1/products', body: { name: 'Teapot', price: 2_500, stock: 10 } },
          },
        },
        schema: { body: newProduct, response: { 201: registeredProduct, default: problemSchema } },
      },
      async (request, reply) => {
        const productId = request.deriveId('product');
        const product = await commands.registerProduct({ productId, ...request.body });
        return reply.code(201).header('location', `/v1/products/${productId}`).send(product);
      },
    );

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
        views.publish(productId, request.userId);
        reply.header('x-cache', found.cached ? 'hit' : 'miss').type('application/json');
        // Already JSON: a string is sent unchanged.
        return reply.send(found.json as unknown as ProductDetail);
      },
    );
  };
}

/** The problems of a command about a product. */
export const productCommandProblems = [
  ...databaseProblems,
  ...commandProblems,
  'PRODUCT_NOT_FOUND',
] as const;

/** The parameters of every route below a product. */
export const productParams = z.strictObject({ productId: aggregateIdSchema });

/** The 404 for a product that does not exist. */
export function unknownProduct(productId: string): Problem {
  const message = `there is no product ${productId}`;
  return new Problem('PRODUCT_NOT_FOUND', {
    detail: `There is no product ${productId}.`,
    errors: [{ field: 'productId', message }],
  });
}

/** Rejects an unknown product before a workflow is started. @throws Problem 404 */
export async function checkProduct({ productDetails }: Services, productId: string): Promise<void> {
  if (!(await productDetails.findPrices([productId])).has(productId)) {
    throw unknownProduct(productId);
  }
}

const newProduct = z.strictObject({
  name: storableText(200),
  price: z.int().min(0).describe('in the smallest currency unit'),
  stock: z.int().min(0).describe('initial units in stock'),
});

const byId = pageOrder([aggregateIdSchema], ({ productId }: ProductDetail) => [productId]);
