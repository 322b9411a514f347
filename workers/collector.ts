/** The worker of the collector's side: `npm run worker:collector`. Wiring, nothing else. */
import { createAuditLogActivities } from '../activities/audit-log';
import { createCacheActivities } from '../activities/cache';
import { createDeadLetterResolutionActivities } from '../activities/dead-letter-resolution';
import { createDeadLetterActivities } from '../activities/dead-letters';
import { createCollectorAuditActivities } from '../activities/delivery-audit';
import { createMetricsActivities } from '../activities/metrics';
import { assureAccess } from '../platform/access';
import { kafkaSenderCheck, postgresCheck, redisCheck } from '../platform/dependency-checks';
import { kafkaDoor, postgresDoor, redisDoor, temporalDoor } from '../platform/doors';
import { createKafka } from '../platform/kafka';
import { createKafkaSender } from '../platform/kafka-sender';
import { runProcess } from '../platform/lifecycle';
import { createPool } from '../platform/postgres';
import { createProductCache } from '../platform/product-cache';
import { createRedis } from '../platform/redis';
import { taskQueues } from '../workflows/names';
import { watchDeadLetters } from './backlog';
import { startWorker } from './start-worker';

void runProcess('worker:collector', async (process) => {
  const { config, logger, onStop } = process;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'worker-collector',
    role: 'commerce_collector',
    maxConnections: 16,
  });
  onStop('the database pool', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'worker-collector' });
  await assureAccess(process, [
    postgresDoor(pool, 'commerce_collector'),
    redisDoor(config),
    kafkaDoor(kafka),
    temporalDoor(config),
  ]);
  const redis = createRedis(config.REDIS_URL, logger, { caFile: config.REDIS_TLS_CA_FILE });
  onStop('the connection to Redis', async () => redis.disconnect());
  const sender = createKafkaSender(kafka, logger);
  onStop('the Kafka sender', () => sender.stop());
  const servesMetrics = await startWorker(process, {
    kind: 'worker:collector',
    checks: [
      postgresCheck(pool, { required: true }),
      redisCheck(redis, { required: false }),
      kafkaSenderCheck(sender, { required: false }),
    ],
    taskQueue: taskQueues.collector,
    activities: {
      ...createAuditLogActivities({ pool }),
      ...createMetricsActivities({ pool }),
      ...createCacheActivities({ cache: createProductCache(redis) }),
      ...createDeadLetterActivities({ pool, sender }),
      ...createCollectorAuditActivities({ pool, kafka, groupId: config.BRIDGE_GROUP_ID }),
      ...createDeadLetterResolutionActivities({ pool, sender }),
    },
  });
  if (servesMetrics) watchDeadLetters(process, pool);
});
