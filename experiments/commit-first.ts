/**
 * What 'at most once' must not mean. Two bridges are killed while handling messages: one that has
 * committed them before it started their workflows, and ours, which commits afterwards.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventTopics } from '../events/topics';
import { readConsumerLag, totalLag } from '../platform/kafka/consumer-lag';
import { altered } from '../test/faults/altered';
import { createStack, type Stack } from '../testkit/stack';
import { until } from '../testkit/until';
import type { Experiment } from './experiment';
import { atRest, countedViews, sendViews } from './views';

const views = 200;

export const commitFirst: Experiment = {
  name: 'commit-first',
  question: 'What is lost when a consumer is killed with messages in its hands?',
  columns: [
    'offsets are committed',
    'views that happened',
    'not committed when it was killed',
    'counted in the end',
  ],
  run: async () => ({
    rows: [
      ['before the work', views, ...(await killAndReplace(true))],
      ['after the work is safe (ours)', views, ...(await killAndReplace(false))],
    ],
    remarks: [
      'In both cases a healthy bridge takes over and works until nothing is left to consume.',
    ],
  }),
};

async function killAndReplace(
  commitsFirst: boolean,
): Promise<[uncommitted: number, counted: number]> {
  const stack = await createStack(['worker:collector']);
  try {
    await sendViews(stack, views);
    const doomed = await stack.launch('bridge', commitsFirst ? altered('commit-before-start') : {});
    if (!commitsFirst) {
      await until('it has begun', async () => (await countedViews(stack)) > 0);
      await doomed.end('SIGKILL');
    }
    await until('it is dead', () => !stack.running('bridge').includes(doomed));
    const uncommitted = await countUncommitted(stack);
    // The consumer group keeps the partitions of the dead one until its session times out.
    await sleep(1_000);
    await stack.start('bridge');
    await atRest(stack);
    return [uncommitted, await countedViews(stack)];
  } finally {
    await stack.stop();
  }
}

async function countUncommitted({ kafka, config }: Stack): Promise<number> {
  return totalLag(await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, eventTopics));
}
