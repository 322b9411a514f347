/** The collector's worker, in its own process or together with a bridge. Wiring only. */
import type { NativeConnection } from '@temporalio/worker';
import { createAuditLogActivities } from '../activities/collector/audit-log';
import { createCacheActivities } from '../activities/collector/cache-eviction';
import { createDeadLetterResolutionActivities } from '../activities/collector/dead-letter-resolution';
import { createDeadLetterActivities } from '../activities/collector/dead-letters';
import { createCollectorAuditActivities } from '../activities/collector/delivery-audit';
import { createMetricsActivities } from '../activities/collector/product-metrics';
import { createNotificationActivities } from '../activities/collector/notifications/activities';
import { subscriptionsOf } from '../activities/collector/notifications/registry';
import { createUnaccountedOffsetsActivities } from '../activities/collector/unaccounted-offsets';
import { createVanishedOffsetsActivities } from '../activities/collector/vanished-offsets';
import { deadLetterTopicOf, eventTopics } from '../events/topics';
import { runStartupChecks } from '../platform/dependencies/startup-checks';
import { kafkaSenderCheck, postgresCheck, redisCheck } from '../platform/dependencies/probes';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  redisStartupCheck,
  temporalStartupCheck,
} from '../platform/dependencies/servers';
import type { Check } from '../platform/dependencies/readiness';
import { createKafka } from '../platform/kafka/client';
import { createKafkaSender } from '../platform/kafka/sender';
import type { ProcessContext } from '../platform/process/lifecycle';
import { createPool } from '../platform/postgres/pool';
import { newestMigration } from '../projections/definition';
import { projectionsCheck, projectionsStartupCheck } from '../projections/checks';
import { collectorWorkerName } from '../projections/older-workers';
import { cacheProbeKey, createProductCache } from '../cache/product-cache';
import { createRedis } from '../platform/redis/client';
import type { ProcessKind } from '../platform/observability/telemetry';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { notificationsTaskQueue, taskQueues, waitingTaskQueues } from '../events/workflow-names';
import {
  watchDeadLetters,
  watchNotifications,
  watchProjections,
  watchVerifications,
} from './backlog-gauges';
import { createOutage, isRetryable, keepingSlots, sparingWorkflowTasks } from './outage';
import { startActivityWorkers, startWorker, type ActivityWork } from './start-worker';

// More than any number of bridges has in flight with its default slots. With the SDK's 40 tasks and 100
// local activities at once 37.2, 41.4 and 38.3 events/s were handled, with these 36.7, 47.9 and 45.4, with
// 10 and 30 of them 30.5, 35.9 and 20.9 (the pipeline's side of `npm run bench -- per-event` with 500
// events and 200 slots, three rounds in turn).
const concurrency = {
  maxConcurrentWorkflowTaskExecutions: 200,
  maxConcurrentLocalActivityExecutions: 400,
};

// Each may wait for a receiver for seconds; their retries wait in Temporal, and hold no slot.
const notificationSlots = 8;

// Those that wait for Redis keep theirs, and try again every second.
const evictionSlots = 8;

/** What else the process runs. */
export interface SecondRole {
  readonly kind: ProcessKind;
  /** The readiness checks of that role alone. */
  readonly checks: readonly Check[];
  /** Its fields in `/readyz`, for people. */
  readonly details: () => Promise<object>;
}

/**
 * Starts the worker, which runs until the process stops.
 *
 * @returns the worker's connection, which is closed when the process stops
 */
export async function startCollectorWorker(
  context: ProcessContext,
  secondRole?: SecondRole,
): Promise<NativeConnection> {
  const { config, logger, onStop } = context;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: collectorWorkerName,
    version: newestMigration,
    customPlans: true,
    role: 'commerce_collector',
    maxConnections: 16,
  });
  onStop('the database pool', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'worker-collector' });
  await runStartupChecks(context, [
    postgresStartupCheck(pool, 'commerce_collector'),
    projectionsStartupCheck(pool),
    redisStartupCheck(config),
    kafkaStartupCheck(kafka),
    temporalStartupCheck(config),
  ]);
  const redis = createRedis(config.REDIS_URL, logger, { caFile: config.REDIS_TLS_CA_FILE });
  onStop('the connection to Redis', async () => redis.disconnect());
  const sender = createKafkaSender(kafka, logger);
  onStop('the Kafka sender', () => sender.stop());
  // Redrive sends to the one kind, parking copies to the other.
  const sentTo = eventTopics.flatMap((topic) => [topic, deadLetterTopicOf(topic)]);
  const topics = watchTopics(kafka, sentTo, logger);
  onStop('the topic watch', () => topics.stop());
  const subscriptions = subscriptionsOf(config);
  const cacheActivities = createCacheActivities({ cache: createProductCache(redis) });
  const cacheOutage = createOutage(isRetryable);
  const { connection, servesMetrics } = await startWorker(context, {
    kinds: secondRole === undefined ? ['worker:collector'] : ['worker:collector', secondRole.kind],
    checks: [
      postgresCheck(pool, { required: true }),
      projectionsCheck(pool),
      redisCheck(redis, cacheProbeKey, { required: false }),
      kafkaSenderCheck(sender, topics, { required: false }),
      topicsCheck(topics),
      ...(secondRole?.checks ?? []),
    ],
    details: secondRole?.details,
    taskQueue: taskQueues.collector,
    concurrency,
    interceptors: [sparingWorkflowTasks(cacheOutage, ['evictCache'])],
    activities: {
      ...createAuditLogActivities({ pool }),
      ...createMetricsActivities({
        pool,
        notifications: subscriptions.map(({ notification }) => notification),
      }),
      ...cacheActivities,
      ...createDeadLetterActivities({ pool, sender, kafka }),
      ...createCollectorAuditActivities({ pool, kafka, groupId: config.BRIDGE_GROUP_ID }),
      ...createDeadLetterResolutionActivities({ pool, sender }),
      ...createUnaccountedOffsetsActivities({ pool, kafka }),
      ...createVanishedOffsetsActivities({ pool, kafka, groupId: config.BRIDGE_GROUP_ID }),
    },
  });
  const evictions: ActivityWork = {
    taskQueue: waitingTaskQueues.evictions,
    slots: evictionSlots,
    activities: cacheActivities,
    interceptors: [keepingSlots(cacheOutage)],
  };
  const secret = config.WEBHOOK_SECRET;
  const notifications: ActivityWork = {
    taskQueue: notificationsTaskQueue,
    slots: notificationSlots,
    activities: createNotificationActivities({ pool, subscriptions, secret }),
  };
  await startActivityWorkers(
    context,
    connection,
    subscriptions.length > 0 ? [evictions, notifications] : [evictions],
  );
  if (servesMetrics) {
    watchDeadLetters(context, pool);
    watchNotifications(context, pool);
    watchProjections(context, pool);
    watchVerifications(context, pool);
  }
  return connection;
}
