/** The API: `npm run api`. Wiring, nothing else. */
import { eventTopics } from '../events/topics';
import { runStartupChecks } from '../platform/dependencies/startup-checks';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  redisStartupCheck,
  temporalStartupCheck,
} from '../platform/dependencies/servers';
import { createKafka } from '../platform/kafka/client';
import { createKafkaSender } from '../platform/kafka/sender';
import { runProcess } from '../platform/process/lifecycle';
import { createPool } from '../platform/postgres/pool';
import { createRedis } from '../platform/redis/client';
import { prepareMetrics } from '../platform/observability/telemetry';
import { createTemporalClient } from '../platform/temporal/client';
import { watchTopics } from '../platform/kafka/topic-watch';
import { openViewSpool } from './products/view-spool';
import { createServer } from './server';

void runProcess('api', async (context) => {
  const { config, logger, onStop } = context;
  prepareMetrics('api');
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'api',
    role: 'commerce_api',
    maxConnections: 16,
    // Clients do not wait longer for an answer.
    statementTimeoutMs: 5_000,
  });
  onStop('the database pool', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'api', requestTimeoutMs: 5_000 });
  await runStartupChecks(context, [
    postgresStartupCheck(pool, 'commerce_api'),
    redisStartupCheck(config),
    kafkaStartupCheck(kafka),
    temporalStartupCheck(config),
  ]);
  const redis = createRedis(config.REDIS_URL, logger, { caFile: config.REDIS_TLS_CA_FILE });
  onStop('the Redis connection', async () => redis.disconnect());
  const sender = createKafkaSender(kafka, logger, { retries: 2 });
  onStop('the Kafka sender', () => sender.stop());
  const spool = await openViewSpool(config, logger);
  onStop('the view spool', () => spool.stop());
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the watch over the topics', () => topics.stop());
  const temporal = createTemporalClient(config);
  onStop('the Temporal client', () => temporal.connection.close());
  const server = await createServer({
    config,
    logger,
    pool,
    redis,
    kafka,
    sender,
    spool,
    temporal,
    topics,
  });
  onStop('the HTTP server', () => server.close());
  const address = await server.listen({ host: config.API_HOST, port: config.API_PORT });
  // Registered last, so that it comes before everything else that stops.
  onStop('load balancing to it', () => server.drain(config.DRAIN_MS));
  logger.info({ address }, 'listening');
});
