/** A process that is told to stop while it starts, for the test of what starts late. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { runProcess } from '../../platform/process/lifecycle';

void runProcess('slow', async ({ logger, onStop }) => {
  // A handler of signals alone keeps no process alive.
  setInterval(() => undefined, 60_000);
  // Keeps the process stopping for long enough to go on starting.
  onStop('the first part', () => sleep(1_000));
  logger.info('starting');
  await once(process, 'SIGTERM');
  onStop('the second part', async () => undefined);
  logger.info('started too late');
});
