import type { Logger } from '@temporalio/common';
import { LoggerWithComposedMetadata } from '@temporalio/common/lib/logger';
import { readConfig } from '../../platform/process/config';
import { createTemporalClient } from '../../platform/temporal/client';
import { dropDetailedLines } from '../../platform/temporal/worker';
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

test("of the SDK's lines those that nobody logs are not composed", () => {
  const info = jest.fn();
  const composeFields = jest.fn(() => ({ taskQueue: 'commerce' }));
  const lines = LoggerWithComposedMetadata.compose({ info } as unknown as Logger, composeFields);
  dropDetailedLines();

  lines.trace('polling');
  lines.debug('workflow started');
  expect(composeFields).not.toHaveBeenCalled();

  lines.info('worker is running');
  expect(info).toHaveBeenCalledWith('worker is running', { taskQueue: 'commerce' });
});
