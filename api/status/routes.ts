/** The state of the whole system with a verdict, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { toStatusAnswer } from '../../operations/status/answer';
import type { Services } from '../http/dependencies';
import { problemSchema } from '../http/problem';
import { statusSchema } from './schemas';

/** `GET /status`. */
export function statusRoutes({ systemStatus }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/status',
      {
        config: {
          operation: {
            operationId: 'readStatus',
            tag: 'Pipeline',
            summary: 'Read the state of the whole system, with a verdict',
            description:
              '`unavailable`: requests are refused. `degraded`: something is wrong or waits for an ' +
              'operator. `unknown`: nothing is known to be wrong, and something could not be measured. ' +
              'Answers 200 within some seconds, whatever hangs; what could not be measured is null.',
            key: 'operator',
            example: { url: '/v1/status' },
          },
        },
        schema: { response: { 200: statusSchema, default: problemSchema } },
      },
      async () => toStatusAnswer(await systemStatus.read()),
    );
  };
}
