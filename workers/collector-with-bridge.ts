/**
 * The collector's side in one process, `npm run collector`: a bridge, and the worker that runs what it
 * starts. Temporal answers the start of a workflow with its first task, so that no event waits until a
 * worker asks for it. Wiring, nothing else.
 */
import { startBridge } from '../bridge/bridge';
import { bridgeChecks, readBridgeState } from '../bridge/readiness';
import { eventTopics } from '../events/topics';
import { createKafka } from '../platform/kafka/client';
import { runProcess } from '../platform/process/lifecycle';
import { createPool } from '../platform/postgres/pool';
import { createTemporalClientOn } from '../platform/temporal/client';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { startCollectorWorker } from './collector-worker';

void runProcess('collector', async (process) => {
  const { config, logger, onStop } = process;
  // Apart from the worker's, so that looking for what is handled never waits for what is being handled.
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'collector-bridge',
    role: 'commerce_collector',
    maxConnections: 2,
  });
  onStop('the database pool of the bridge', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'collector-bridge' });
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the watch over the topics that are read', () => topics.stop());
  const connection = await startCollectorWorker(process, {
    kind: 'bridge',
    // The worker's own checks are those of its sender.
    checks: [
      ...bridgeChecks('kafka-consumer'),
      { ...topicsCheck(topics), name: 'topics-consumer' },
    ],
    details: readBridgeState,
  });
  startBridge(process, {
    kafka,
    topics,
    database: pool,
    client: createTemporalClientOn(connection, config),
    // Which of the workers' versions a workflow begins with is left to Temporal.
    eagerStart: config.TEMPORAL_DEPLOYMENT_NAME === undefined,
  });
});
