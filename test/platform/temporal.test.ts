import { readConfig } from '../../platform/process/config';
import { createTemporalClient } from '../../platform/temporal/client';
import { findFreePorts } from '../../cluster/local-cluster';

test('a call that is retried while Temporal is unavailable ends with the connection', async () => {
  const { temporal: port } = await findFreePorts();
  const client = createTemporalClient(readConfig({ TEMPORAL_ADDRESS: `127.0.0.1:${port}` }));
  const call = client.workflowService.getSystemInfo({}).catch((error: unknown) => error);
  // A refused connection fails at once: by then it waits for its next attempt.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await client.connection.close();
  expect(await call).toBeInstanceOf(Error);
}, 15_000);
