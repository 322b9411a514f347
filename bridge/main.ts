/** The bridge: `npm run bridge`. Wiring, nothing else. */
import { createKafka } from '../platform/kafka';
import { runProcess } from '../platform/lifecycle';
import { createPool } from '../platform/postgres';
import { createTemporalClient } from '../platform/temporal';
import { startEventConsumer } from './event-consumer';
import { createInFlight } from './in-flight';
import { createWorkflowStarter } from './workflow-starter';

void runProcess('bridge', async ({ config, logger, onStop }) => {
  const pool = createPool(config.DATABASE_URL, logger, {
    applicationName: 'bridge',
    maxConnections: 2,
  });
  onStop('the database pool', () => pool.end());
  const client = createTemporalClient(config);
  onStop('the connection to Temporal', () => client.connection.close());
  const inFlight = createInFlight(pool, logger, { limit: config.BRIDGE_MAX_IN_FLIGHT });
  const starter = createWorkflowStarter({ client, inFlight, logger });
  const kafka = createKafka(config, logger, { clientId: 'bridge' });
  const consumer = startEventConsumer(
    { kafka, starter, logger },
    { groupId: config.BRIDGE_GROUP_ID },
  );
  onStop('the consumer', () => consumer.stop());
});
