/** The shop's worker: `npm run worker:commerce`. Wiring only. */
import { createShopActivities } from '../activities/commerce';
import { eventTopics } from '../events/topics';
import { runStartupChecks } from '../platform/dependencies/startup-checks';
import { kafkaSenderCheck, postgresCheck } from '../platform/dependencies/probes';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  temporalStartupCheck,
} from '../platform/dependencies/servers';
import { createKafka } from '../platform/kafka/client';
import { createKafkaSender } from '../platform/kafka/sender';
import { runProcess } from '../platform/process/lifecycle';
import { createHttpPaymentGateway } from '../activities/commerce/payment-gateway';
import { createPool } from '../platform/postgres/pool';
import { createTemporalClient } from '../platform/temporal/client';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { taskQueues } from '../events/workflow-names';
import { watchOutbox } from './backlog-gauges';
import { scheduleDeliveryAudit } from './delivery-audit-schedule';
import { startWorker } from './start-worker';

void runProcess('worker:commerce', async (context) => {
  const { config, logger, onStop } = context;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'worker-commerce',
    role: 'commerce_shop',
    maxConnections: 16,
  });
  onStop('the database pool', () => pool.end());
  const relayPool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'worker-commerce-relay',
    role: 'commerce_shop',
    maxConnections: 16,
    // Longer than the sender's timeout; a relay silent for longer is frozen.
    idleInTransactionTimeoutMs: 20_000,
  });
  onStop('the relay pool', () => relayPool.end());
  const kafka = createKafka(config, logger, {
    clientId: 'worker-commerce',
    requestTimeoutMs: 5_000,
  });
  await runStartupChecks(context, [
    postgresStartupCheck(pool, 'commerce_shop'),
    kafkaStartupCheck(kafka),
    temporalStartupCheck(config),
  ]);
  const sender = createKafkaSender(kafka, logger, { retries: 2 });
  onStop('the Kafka sender', () => sender.stop());
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the topic watch', () => topics.stop());
  const gateway = createHttpPaymentGateway({
    url: config.PAYMENT_GATEWAY_URL,
    requestTimeoutMs: 4_000,
  });
  const { servesMetrics } = await startWorker(context, {
    kinds: ['worker:commerce'],
    checks: [
      postgresCheck(pool, { required: true }),
      kafkaSenderCheck(sender, topics, { required: false }),
      topicsCheck(topics),
    ],
    taskQueue: taskQueues.commerce,
    activities: createShopActivities({ pool, relayPool, sender, gateway }),
  });
  if (servesMetrics) watchOutbox(context, pool);
  const client = createTemporalClient(config);
  onStop('the connection of the schedules', () => client.connection.close());
  const stopping = new AbortController();
  const scheduling = scheduleDeliveryAudit({ client, config, logger }, stopping.signal);
  onStop('scheduling the delivery audit', () => {
    stopping.abort();
    return scheduling;
  });
});
