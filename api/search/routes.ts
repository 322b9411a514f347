/** Search, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { storableText } from '../../events/storable-text';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { problemSchema } from '../http/problem';
import { searchResults } from './schemas';

/** `GET /search`. */
export function searchRoutes({ search }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/search',
      {
        config: {
          operation: {
            operationId: 'search',
            tag: 'Search',
            summary: 'Find what an ID, a name or a place stands for',
            description:
              'The ID of an event, an order, a product or a user who has placed orders; the number of a ' +
              'dead letter (`#13`); the place of a message (`topic/partition@offset`); the beginnings ' +
              'of words of a product’s name.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/search?q=$PRODUCT', after: 'PRODUCT' },
          },
        },
        schema: {
          querystring: searchQuery,
          response: { 200: searchResults, default: problemSchema },
        },
      },
      ({ query: { q } }) => search.find(q),
    );
  };
}

const searchQuery = z.strictObject({ q: storableText(200) });
