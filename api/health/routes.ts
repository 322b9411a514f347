/** Liveness, readiness and Prometheus metrics of the process. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import {
  kafkaSenderCheck,
  postgresCheck,
  redisCheck,
  temporalCheck,
} from '../../platform/dependencies/probes';
import {
  checkReadiness,
  isReady,
  type Check,
  type Readiness,
} from '../../platform/dependencies/readiness';
import { metricsContentType, renderMetrics } from '../../platform/observability/telemetry';
import { topicsCheck } from '../../platform/kafka/topic-watch';
import { cacheProbeKey } from '../../cache/product-cache';
import type { ApiDependencies } from '../http/dependencies';
import { shareReading } from '../../platform/process/shared-reading';
import { alive, readiness } from './schemas';

/** Probes every dependency. Bounded in time, and never throws. */
export type ReadinessReading = () => Promise<Readiness>;

/** The readiness of the API. Without a key and a rate limit: concurrent calls share one check. */
export function createReadinessReading(dependencies: ApiDependencies): ReadinessReading {
  const checks = checksOf(dependencies);
  return shareReading(0, () => checkReadiness(checks));
}

/** `GET /healthz`, `GET /readyz` and `GET /metrics`, without a key. */
export function healthRoutes(readReadiness: ReadinessReading): FastifyPluginAsyncZod {
  const readMetrics = shareReading(0, renderMetrics);
  return async (app) => {
    app.get(
      '/healthz',
      {
        config: {
          operation: {
            operationId: 'isAlive',
            tag: 'Process',
            summary: 'Liveness probe',
            key: 'public',
            example: { url: '/healthz' },
          },
        },
        schema: { response: { 200: alive } },
      },
      async () => ({
        status: 'ok' as const,
      }),
    );

    app.get(
      '/readyz',
      {
        config: {
          operation: {
            operationId: 'isReady',
            tag: 'Process',
            summary: 'Readiness probe, with each dependency',
            description: '`degraded` is ready: only optional dependencies are down.',
            key: 'public',
            example: { url: '/readyz' },
          },
        },
        schema: { response: { 200: readiness, 503: readiness } },
      },
      async (_, reply) => {
        const { status, dependencies } = await readReadiness();
        const present = { status: app.isStopping() ? ('stopping' as const) : status, dependencies };
        return reply.code(isReady(present) ? 200 : 503).send(present);
      },
    );

    app.get(
      '/metrics',
      {
        config: {
          operation: {
            operationId: 'readMetrics',
            tag: 'Process',
            summary: 'Prometheus metrics of the process',
            key: 'public',
            produces: 'text/plain',
            example: { url: '/metrics' },
          },
        },
      },
      async (_, reply) => reply.type(metricsContentType).send(await readMetrics()),
    );
  };
}

function checksOf({ pool, redis, sender, temporal, topics }: ApiDependencies): Check[] {
  return [
    postgresCheck(pool, { required: true }),
    temporalCheck(temporal, { required: true }),
    kafkaSenderCheck(sender, topics, { required: false }),
    topicsCheck(topics),
    redisCheck(redis, cacheProbeKey, { required: false }),
  ];
}
