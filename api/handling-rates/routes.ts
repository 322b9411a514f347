/** How many events are handled, and how fast, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { problemSchema } from '../http/problem';
import { shareReading } from '../../platform/process/shared-reading';
import { handlingRates } from './schemas';

/** `GET /metrics/rates`. */
export function handlingRateRoutes({ handlingRateReads }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    const readRates = shareReading(freshForMs, () => handlingRateReads.list(stretch));
    app.get(
      '/metrics/rates',
      {
        config: {
          operation: {
            operationId: 'readRates',
            tag: 'Metrics',
            summary: 'Read throughput and latency of event handling',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/metrics/rates' },
          },
        },
        schema: { response: { 200: handlingRates, default: problemSchema } },
      },
      async () => ({
        seconds: stretch.seconds,
        items: (await readRates()).map((rate) => ({ ...rate, at: rate.at.toISOString() })),
      }),
    );
  };
}

// The last ten minutes.
const stretch = { seconds: 2, count: 300 };

// Any number of dashboards share one query.
const freshForMs = 1_000;
