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
import { createLockedProductFinder } from '../activities/commerce/locked-products';
import {
  createHttpPaymentGateway,
  PaymentGatewayUnavailableError,
} from '../activities/commerce/payment-gateway';
import { createPool } from '../platform/postgres/pool';
import { createTemporalClient } from '../platform/temporal/client';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { taskQueues, waitingTaskQueues } from '../events/workflow-names';
import { watchOutbox } from './backlog-gauges';
import { keepDeliveryAuditScheduled } from './delivery-audit-schedule';
import { createOutage, keepingSlots, sparingWorkflowTasks } from './outage';
import { boundingProductLocks, createProductLocks } from './product-locks';
import { takingTurns } from './retry-turns';
import { startActivityWorkers, startWorker } from './start-worker';

void runProcess('worker:commerce', async (context) => {
  const { config, logger, onStop } = context;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'worker-commerce',
    role: 'commerce_shop',
    maxConnections: 16,
    // Below the timeout of a local attempt, so that the next one does not find its connection taken.
    lockTimeoutMs: 2_000,
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
  const activities = createShopActivities({ pool, relayPool, sender, gateway });
  const gatewayOutage = createOutage((error) => error instanceof PaymentGatewayUnavailableError);
  const productLocks = boundingProductLocks(
    createProductLocks({ findLocked: createLockedProductFinder(pool) }),
  );
  const { connection, servesMetrics } = await startWorker(context, {
    kinds: ['worker:commerce'],
    checks: [
      postgresCheck(pool, { required: true }),
      kafkaSenderCheck(sender, topics, { required: false }),
      topicsCheck(topics),
    ],
    taskQueue: taskQueues.commerce,
    activities,
    interceptors: [
      sparingWorkflowTasks(gatewayOutage, ['chargeOrder', 'findCharge']),
      productLocks,
    ],
  });
  await startActivityWorkers(context, connection, [
    {
      taskQueue: waitingTaskQueues.payments,
      // A charge is given up after seven seconds, and looked up for another four.
      slots: 200,
      activities,
      interceptors: [keepingSlots(gatewayOutage, { patienceMs: 6_000 })],
    },
    {
      taskQueue: waitingTaskQueues.refunds,
      slots: 8,
      activities,
      interceptors: [keepingSlots(gatewayOutage)],
    },
    {
      taskQueue: waitingTaskQueues.state,
      slots: 32,
      activities,
      interceptors: [takingTurns(), productLocks],
    },
  ]);
  if (servesMetrics) watchOutbox(context, pool);
  const client = createTemporalClient(config);
  onStop('the connection of the schedules', () => client.connection.close());
  const stopping = new AbortController();
  const scheduling = keepDeliveryAuditScheduled({ client, config, logger }, stopping.signal);
  onStop('keeping the delivery audit scheduled', () => {
    stopping.abort();
    return scheduling;
  });
});
