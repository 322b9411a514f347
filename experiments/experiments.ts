/** Every experiment, in the order in which they are listed. */
import { commitFirst } from './commit-first';
import { concurrentSends } from './concurrent-sends';
import type { Experiment } from './experiment';
import { guards } from './guards';
import { handledInRedis } from './handled-in-redis';
import { oneConsumerOrTwo } from './one-consumer-or-two';
import { randomKey } from './random-key';
import { rollingProjection } from './rolling-projection';

/** What `npm run experiment` can run. */
export const experiments: readonly Experiment[] = [
  guards,
  commitFirst,
  randomKey,
  handledInRedis,
  oneConsumerOrTwo,
  concurrentSends,
  rollingProjection,
];
