/** The worker of the collector's side: `npm run worker:collector`. Wiring, nothing else. */
import { runProcess } from '../platform/process/lifecycle';
import { startCollectorWorker } from './collector-worker';

void runProcess('worker:collector', async (process) => {
  await startCollectorWorker(process);
});
