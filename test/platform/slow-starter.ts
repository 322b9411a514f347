/** A process that is stopped while it starts, for the test of late starts. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProcess } from '../../platform/process/lifecycle';

void runProcess('slow', async ({ logger, onStop }) => {
  // A handler of signals alone keeps no process alive.
  setInterval(() => undefined, 60_000);
  // Keeps the process stopping for long enough to continue starting.
  onStop('the first part', () => sleep(1_000));
  logger.info('starting');
  await once(process, 'SIGTERM');
  onStop('the second part', async () => undefined);
  logger.info('started too late');
});
