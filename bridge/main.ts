/** The bridge as a process of its own: `npm run bridge`. Wiring, nothing else. */
import { assureAccess } from '../platform/access';
import { postgresCheck, temporalCheck } from '../platform/dependency-checks';
import { kafkaDoor, postgresDoor, temporalDoor } from '../platform/doors';
import { createKafka } from '../platform/kafka';
import { runProcess } from '../platform/lifecycle';
import { serveMetrics } from '../platform/metrics-server';
import { createPool } from '../platform/postgres';
import { createTemporalClient } from '../platform/temporal';
import { startBridge } from './bridge';
import { bridgeChecks, readBridgeState } from './readiness';

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
  await serveMetrics(process, {
    kinds: ['bridge'],
    checks: [
      postgresCheck(pool, { required: true }),
      temporalCheck(client, { required: true }),
      ...bridgeChecks(),
    ],
    details: readBridgeState,
  });
  startBridge(process, { kafka, database: pool, client, eagerStart: false });
});
