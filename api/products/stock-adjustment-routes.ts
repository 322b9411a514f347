/** Manual stock adjustments. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Services } from '../http/dependencies';
import { Problem, problemSchema } from '../http/problem';
import { checkProduct, productCommandProblems, productParams, unknownProduct } from './routes';
import { adjustedStock } from './schemas';

/** `POST /products/{productId}/stock-adjustments`. */
export function stockAdjustmentRoutes(services: Services): FastifyPluginAsyncZod {
  const { commands } = services;
  return async (app) => {
    app.post(
      '/products/:productId/stock-adjustments',
      {
        config: {
          operation: {
            operationId: 'adjustStock',
            tag: 'Products',
            summary: 'Adjust the stock of a product',
            key: 'operator',
            problems: [...productCommandProblems, 'STOCK_OUT_OF_RANGE'],
            example: {
              url: '/v1/products/$PRODUCT/stock-adjustments',
              body: { delta: 5, reason: 'restock' },
              after: 'PRODUCT',
            },
          },
        },
        schema: {
          params: productParams,
          body: newAdjustment,
          response: { 201: adjustedStock, default: problemSchema },
        },
      },
      async (request, reply) => {
        const { productId } = request.params;
        await checkProduct(services, productId);
        const adjustmentId = request.deriveId('stock-adjustment');
        const outcome = await commands.adjustStock({ adjustmentId, productId, ...request.body });
        switch (outcome.kind) {
          case 'adjusted': {
            const { stock, version, eventId } = outcome;
            return reply.code(201).send({ stock, version, eventId });
          }
          case 'unknown-product':
            throw unknownProduct(productId);
          case 'stock-out-of-range':
            throw outOfRange(outcome.stock, request.body.delta);
        }
      },
    );
  };
}

const newAdjustment = z.strictObject({
  delta: z.int().describe('units to add; negative to remove'),
  reason: z.enum(['restock', 'correction']),
});

function outOfRange(stock: number, delta: number): Problem {
  return new Problem('STOCK_OUT_OF_RANGE', {
    detail: `The stock is ${stock}; changed by ${delta} it would leave the range from 0 to 2^52.`,
  });
}
