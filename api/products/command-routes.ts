/** The routes of the commands about products. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { CommandName } from '../../events/commands';
import { adjustStock } from '../../events/commands/adjust-stock';
import { changeLike } from '../../events/commands/change-like';
import { registerProduct } from '../../events/commands/register-product';
import { commandRoute, type CommandRoute } from '../commands/route';
import { commandProblems, databaseProblems } from '../http/operation';
import { userOf } from '../http/plugins/authorization';
import { Problem } from '../http/problem';
import {
  checkProduct,
  productCommandProblems,
  productParams,
  unknownProduct,
} from './named-product';
import { adjustedStock, likeSchema, registeredProduct } from './schemas';

/** `POST /products`. */
const registration = commandRoute(registerProduct, {
  method: 'POST',
  url: '/products',
  operationId: 'registerProduct',
  tag: 'Products',
  summary: 'Register a product',
  key: 'operator',
  problems: [...databaseProblems, ...commandProblems],
  example: { url: '/v1/products', body: { name: 'Teapot', price: 2_500, stock: 10 } },
  body: registerProduct.input.omit({ productId: true }),
  status: 201,
  answer: registeredProduct,
  location: ({ productId }) => `/v1/products/${productId}`,
  toCommand: (request) => ({ productId: request.deriveId('product'), ...request.body }),
  toAnswer: (product) => product,
});

/** `POST /products/{productId}/stock-adjustments`. */
const stockAdjustment = commandRoute(adjustStock, {
  method: 'POST',
  url: '/products/:productId/stock-adjustments',
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
  params: productParams,
  body: adjustStock.input.omit({ adjustmentId: true, productId: true }),
  status: 201,
  answer: adjustedStock,
  toCommand: (request) => ({
    adjustmentId: request.deriveId('stock-adjustment'),
    productId: request.params.productId,
    ...request.body,
  }),
  check: checkProduct,
  toAnswer(outcome, { productId, delta }) {
    switch (outcome.kind) {
      case 'adjusted':
        return outcome;
      case 'unknown-product':
        return unknownProduct(productId);
      case 'stock-out-of-range':
        return outOfRange(outcome.stock, delta);
    }
  },
});

function outOfRange(stock: number, delta: number): Problem {
  return new Problem('STOCK_OUT_OF_RANGE', {
    detail:
      `The stock is ${stock}; changed by ${delta} it would ` +
      `${delta < 0 ? 'fall below 0' : 'rise above 2^52 (4503599627370496)'}.`,
  });
}

/** `PUT` and `DELETE /products/{productId}/like`. Idempotent: the users who like a product are a set. */
const likes = [
  likeRoute('PUT', { liked: true, operationId: 'likeProduct', summary: 'Like a product' }),
  likeRoute('DELETE', { liked: false, operationId: 'unlikeProduct', summary: 'Unlike a product' }),
];

interface LikeOperation {
  readonly liked: boolean;
  readonly operationId: string;
  readonly summary: string;
}

function likeRoute(method: 'PUT' | 'DELETE', { liked, ...named }: LikeOperation) {
  return commandRoute(changeLike, {
    method,
    url: '/products/:productId/like',
    ...named,
    tag: 'Products',
    description: 'Idempotent.',
    key: 'shopper',
    user: 'required',
    problems: productCommandProblems,
    example: { url: '/v1/products/$PRODUCT/like', after: 'PRODUCT' },
    params: productParams,
    body: z.strictObject({}).nullish(),
    status: 200,
    answer: likeSchema,
    toCommand: (request) => ({
      // Fresh for each request: a retry may arrive after the opposite request.
      requestId: randomUUID(),
      productId: request.params.productId,
      userId: userOf(request),
      liked,
    }),
    check: checkProduct,
    toAnswer: (outcome, { productId }) =>
      outcome.kind === 'unknown-product'
        ? unknownProduct(productId)
        : { liked, likeCount: outcome.likeCount },
  });
}

/** The routes of each command, in the order of the OpenAPI document. All are about products so far. */
export const productCommandRoutes = {
  registerProduct: [registration],
  adjustStock: [stockAdjustment],
  changeLike: likes,
} satisfies { [Name in CommandName]: readonly CommandRoute<Name>[] };
