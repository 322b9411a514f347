/** The collector's worker: `npm run worker:collector`. Wiring only. */
import { runProcess } from '../platform/process/lifecycle';
import { startCollectorWorker } from './collector-worker';

void runProcess('worker:collector', async (context) => {
  await startCollectorWorker(context);
});
