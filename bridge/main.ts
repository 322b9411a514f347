/** The bridge as its own process: `npm run bridge`. Wiring only. */
import { eventTopics } from '../events/topics';
import { runStartupChecks } from '../platform/dependencies/startup-checks';
import { postgresCheck, temporalCheck } from '../platform/dependencies/probes';
import {
  kafkaStartupCheck,
  postgresStartupCheck,
  temporalStartupCheck,
} from '../platform/dependencies/servers';
import { createKafka } from '../platform/kafka/client';
import { runProcess } from '../platform/process/lifecycle';
import { serveMetrics } from '../platform/observability/prometheus-server';
import { createPool } from '../platform/postgres/pool';
import { createTemporalClient } from '../platform/temporal/client';
import { topicsCheck, watchTopics } from '../platform/kafka/topic-watch';
import { startBridge, type Bridge } from './bridge';
import { bridgeChecks, readBridgeState } from './readiness';

void runProcess('bridge', async (context) => {
  const { config, logger, onStop } = context;
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'bridge',
    role: 'commerce_bridge',
    maxConnections: 2,
  });
  onStop('the database pool', () => pool.end());
  const kafka = createKafka(config, logger, { clientId: 'bridge' });
  await runStartupChecks(context, [
    postgresStartupCheck(pool, 'commerce_bridge'),
    kafkaStartupCheck(kafka),
    temporalStartupCheck(config),
  ]);
  const client = createTemporalClient(config);
  onStop('the connection to Temporal', () => client.connection.close());
  const topics = watchTopics(kafka, eventTopics, logger);
  onStop('the topic watch', () => topics.stop());
  const state: { bridge?: Bridge } = {};
  await serveMetrics(context, {
    kinds: ['bridge'],
    checks: [
      postgresCheck(pool, { required: true }),
      temporalCheck(client, { required: true }),
      ...bridgeChecks(() => state.bridge?.hasJoined()),
      topicsCheck(topics),
    ],
    details: readBridgeState,
  });
  state.bridge = startBridge(context, { kafka, database: pool, client, topics, eagerStart: false });
});
