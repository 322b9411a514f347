/**
 * Where to record that an event was handled. PostgreSQL can do it in the transaction of the effect;
 * Redis is a second system, and a process can be killed between the two.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { readConsumerLag } from '../platform/kafka/consumer-lag';
import { createTopics } from '../platform/kafka/client';
import { produce } from '../testkit/foreign-producer';
import { rememberProcess } from '../testkit/child-processes';
import { createStack, type Stack } from '../testkit/stack';
import { makeCounter, readCounter, waysToCount, type WayToCount } from './counting';
import { until } from '../testkit/until';
import type { Experiment } from './experiment';

const views = 100;
const crashEvery = 30;
const measuredViews = 2_000;
const rounds = 3;

export const handledInRedis: Experiment = {
  name: 'handled-in-redis',
  question: 'Should `event_handled` be in PostgreSQL or in Redis?',
  columns: [
    'the note is kept in',
    'views',
    '`kill -9` between two steps',
    'counted',
    'counted when all came twice and Redis was emptied in between',
    `views/s, one at a time, ${rounds} rounds`,
  ],
  async run() {
    const stack = await createStack([]);
    try {
      const names = Object.keys(waysToCount) as WayToCount[];
      const rates = await measure(stack, names);
      const rows = [];
      for (const name of names) {
        const { counted, crashes } = await consumeWithCrashes(stack, name);
        const afterLoss = await deliverAfterLoss(stack, name);
        rows.push([
          name,
          views,
          crashes,
          counted,
          afterLoss,
          rates
            .get(name)!
            .map((rate) => rate.toLocaleString('en-US'))
            .join(', '),
        ]);
      }
      return {
        rows,
        remarks: [
          'Each crash is followed by a new process, which gets the message again that was not committed.',
          'Emptied: evicted, expired, or lost with the last seconds before a crash of Redis.',
          'Measured after a round that does not count, each round in another order.',
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

/** Every way in each round; another one begins each time, and the first round only warms up. */
async function measure(
  stack: Stack,
  names: readonly WayToCount[],
): Promise<Map<WayToCount, number[]>> {
  const rates = new Map(names.map((name) => [name, [] as number[]]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of [...names.slice(round), ...names.slice(0, round)]) {
      await makeCounter(stack);
      const from = performance.now();
      for (let view = 0; view < measuredViews; view += 1) {
        await waysToCount[name](stack, randomUUID(), () => undefined);
      }
      const rate = Math.round(measuredViews / ((performance.now() - from) / 1_000));
      if (round > 0) rates.get(name)!.push(rate);
    }
  }
  return rates;
}

async function consumeWithCrashes(
  stack: Stack,
  name: WayToCount,
): Promise<{ counted: number; crashes: number }> {
  await makeCounter(stack);
  const topic = `views-${randomUUID()}`;
  await createTopics(stack.kafka, [{ topic, partitions: 1 }]);
  const messages = Array.from({ length: views }, () => ({ key: 'lamp', value: randomUUID() }));
  await produce(stack.kafka, topic, messages);
  let crashes = 0;
  while (await diesOnTheWay(stack, topic, name)) crashes += 1;
  return { counted: await readCounter(stack), crashes };
}

/** Lets one process consume until it dies or has nothing left to do. @returns whether it died */
async function diesOnTheWay(stack: Stack, topic: string, name: WayToCount): Promise<boolean> {
  const script = path.join(__dirname, 'counting-consumer.ts');
  const child = rememberProcess(
    spawn(process.execPath, ['--require', './typescript.cjs', script], {
      env: {
        ...process.env,
        ...stack.environment,
        COUNT_IN: name,
        COUNT_FROM: topic,
        CRASH_EVERY: String(crashEvery),
      },
      stdio: 'ignore',
    }),
  );
  const died = once(child, 'exit').then(() => true);
  try {
    return await Promise.race([died, untilConsumed(stack, topic).then(() => false)]);
  } finally {
    child.kill('SIGKILL');
    await died;
  }
}

async function untilConsumed({ kafka }: Stack, topic: string): Promise<void> {
  const isConsumed = async (): Promise<boolean> => {
    const [partition] = await readConsumerLag(kafka, topic, [topic]);
    return partition?.lag === 0;
  };
  await until('every view is consumed', isConsumed, { timeoutMs: 120_000 });
}

async function deliverAfterLoss(stack: Stack, name: WayToCount): Promise<number> {
  await makeCounter(stack);
  const eventIds = Array.from({ length: views }, () => randomUUID());
  for (const eventId of eventIds) await waysToCount[name](stack, eventId, () => undefined);
  await stack.redis.flushall();
  for (const eventId of eventIds) await waysToCount[name](stack, eventId, () => undefined);
  return readCounter(stack);
}
