/** OpenAPI, AsyncAPI and the JSON Schemas of event data. */
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { asyncApiDocument } from '../../events/asyncapi';
import { dataJsonSchema } from '../../events/json-schemas';
import { Problem, problemSchema } from '../http/problem';

/** `GET /openapi.json`, `GET /asyncapi.json` and `GET /schemas/{type}/{version}`, without a key. */
export const documentRoutes: FastifyPluginAsyncZod = async (app) => {
  // Serialized once: the routes are public, and their content is fixed by then.
  let openApiText: string | undefined;
  let asyncApiText: string | undefined;

  app.get(
    '/openapi.json',
    {
      config: {
        operation: {
          operationId: 'readOpenApi',
          tag: 'Documents',
          summary: 'This OpenAPI 3.1 document',
          key: 'public',
          example: { url: '/openapi.json' },
        },
      },
      schema: { response: { 200: document, default: problemSchema } },
    },
    async (_, reply) =>
      sendJson(reply.type('application/json'), (openApiText ??= JSON.stringify(app.swagger()))),
  );

  app.get(
    '/asyncapi.json',
    {
      config: {
        operation: {
          operationId: 'readAsyncApi',
          tag: 'Documents',
          summary: 'AsyncAPI 3.0 document of the topics and events',
          key: 'public',
          example: { url: '/asyncapi.json' },
        },
      },
      schema: { response: { 200: document, default: problemSchema } },
    },
    async (_, reply) =>
      sendJson(
        reply.type('application/json'),
        (asyncApiText ??= JSON.stringify(asyncApiDocument())),
      ),
  );

  app.get(
    '/schemas/:type/:version',
    {
      config: {
        operation: {
          operationId: 'readSchema',
          tag: 'Documents',
          summary: 'JSON Schema 2020-12 of the data of an event type',
          description:
            'Events reference it in `dataschema`. A released version never changes its meaning.',
          key: 'public',
          problems: ['VALIDATION_FAILED', 'SCHEMA_NOT_FOUND'],
          produces: 'application/schema+json',
          example: { url: '/schemas/StockAdjusted/1' },
        },
      },
      schema: { params, response: { 200: document, default: problemSchema } },
    },
    async ({ params: { type, version } }, reply) => {
      const schema = dataJsonSchema(type, version);
      if (schema === undefined) {
        const detail = `There is no version ${version} of an event type ${type}.`;
        throw new Problem('SCHEMA_NOT_FOUND', { detail });
      }
      return sendJson(reply.type('application/schema+json'), JSON.stringify(schema));
    },
  );
};

const document = z.looseObject({});

const params = z.strictObject({
  type: z.string().max(100),
  version: z
    .string()
    .regex(/^[1-9]\d{0,3}$/, 'must be the number of a version')
    .transform(Number),
});

// A string is sent unchanged, without a schema.
function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.send(json);
}
