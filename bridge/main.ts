/** The bridge: `npm run bridge`. Wiring, nothing else. */
import { eventTopics } from '../events/topics';
import { assureAccess } from '../platform/access';
import { readConsumerLag } from '../platform/consumer-lag';
import { postgresCheck, temporalCheck } from '../platform/dependency-checks';
import { kafkaDoor, postgresDoor, temporalDoor } from '../platform/doors';
import { createKafka } from '../platform/kafka';
import { runProcess } from '../platform/lifecycle';
import { serveMetrics } from '../platform/metrics-server';
import { createPool } from '../platform/postgres';
import { createTemporalClient } from '../platform/temporal';
import { createCoalescingDispatcher, createPerEventDispatcher } from './dispatcher';
import { startEventConsumer } from './event-consumer';
import { createFinishedWork } from './finished-work';
import { createInFlight } from './in-flight';
import { watchLag } from './lag-watch';
import { kafkaCheck, readBridgeState } from './readiness';
import { createWorkflowStarter } from './workflow-starter';

// A slot is a workflow of one event, or of up to 500: fewer of these keep the worker as busy. With 4, 8,
// 16 and 32 of them a backlog was worked off at 5,069, 6,858, 6,220 and 4,423 events/s (the coalescing
// side of `npm run bench -- catch-up`, medians of three rounds that differed by up to half).
const defaultMaxInFlight = { 'per-event': 200, coalesce: 16 } as const;

void runProcess('bridge', async (process) => {
  const { config, logger, onStop } = process;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'bridge',
    role: 'commerce_bridge',
    maxConnections: 2,
  });
  onStop('the database pool', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'bridge' });
  await assureAccess(process, [
    postgresDoor(pool, 'commerce_bridge'),
    kafkaDoor(kafka),
    temporalDoor(config),
  ]);
  const client = createTemporalClient(config);
  onStop('the connection to Temporal', () => client.connection.close());
  const finishedWork = createFinishedWork(pool);
  const limit = config.BRIDGE_MAX_IN_FLIGHT ?? defaultMaxInFlight[config.BRIDGE_MODE];
  const inFlight = createInFlight(finishedWork, logger, { limit });
  await serveMetrics(process, {
    kind: 'bridge',
    checks: [
      postgresCheck(pool, { required: true }),
      temporalCheck(client, { required: true }),
      kafkaCheck,
    ],
    details: readBridgeState,
  });
  const starter = createWorkflowStarter({ client, logger });
  const createDispatcher =
    config.BRIDGE_MODE === 'coalesce' ? createCoalescingDispatcher : createPerEventDispatcher;
  const dispatcher = createDispatcher({ starter, inFlight, finishedWork, logger });
  const groupId = config.BRIDGE_GROUP_ID;
  const lag = watchLag(() => readConsumerLag(kafka, groupId, eventTopics), logger);
  onStop('the watch over the lag', () => lag.stop());
  const consumer = startEventConsumer({ kafka, dispatcher, logger }, { groupId });
  onStop('the consumer', () => consumer.stop());
});
