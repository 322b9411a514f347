/** A process that says nothing but that it has started, for the test of stopping without a reader. */
import { runProcess } from '../../platform/process/lifecycle';

void runProcess('quiet', async ({ logger, onStop }) => {
  const staying = setInterval(() => undefined, 60_000);
  onStop('the wait', async () => clearInterval(staying));
  logger.info('started');
});
