/**
 * Bridge and collector's worker in one process, `npm run collector`. Eager start: Temporal returns a
 * workflow's first task with the response to its start, so that no event waits for a worker's poll.
 * Wiring only.
 */
import { startBridge, type Bridge } from '../bridge/bridge';
import { bridgeChecks, readBridgeState } from '../bridge/readiness';
import { eventTopics } from '../events/topics';
import { createKafka } from '../platform/kafka/client';
import { runProcess } from '../platform/process/lifecycle';
import { createPool } from '../platform/postgres/pool';
import { createTemporalClientOn } from '../platform/temporal/client';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { startCollectorWorker } from './collector-worker';

void runProcess('collector', async (context) => {
  const { config, logger, onStop } = context;
  // Separate from the worker's pool, so that the bridge's queries never wait for the worker's.
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'collector-bridge',
    role: 'commerce_collector',
    maxConnections: 2,
  });
  onStop('the database pool of the bridge', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'collector-bridge' });
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the topic watch of the consumer', () => topics.stop());
  const state: { bridge?: Bridge } = {};
  const connection = await startCollectorWorker(context, {
    kind: 'bridge',
    // The worker's own checks are its sender's.
    checks: [
      ...bridgeChecks(() => state.bridge?.hasJoined(), 'kafka-consumer'),
      { ...topicsCheck(topics), name: 'topics-consumer' },
    ],
    details: readBridgeState,
  });
  state.bridge = startBridge(context, {
    kafka,
    topics,
    database: pool,
    client: createTemporalClientOn(connection, config),
    // With versioning, Temporal chooses the version that a workflow starts on.
    eagerStart: config.TEMPORAL_DEPLOYMENT_NAME === undefined,
  });
});
