/** How the partitions of one consumer share its fetches. */
import type { Dispatcher } from '../../bridge/dispatcher';
import { startEventConsumer } from '../../bridge/event-consumer';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { createLogger } from '../../platform/observability/logger';
import { watchTopics } from '../../platform/kafka/topic-watch';
import { pause } from '../../platform/process/waiting';
import { messageOf, produce, viewed } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { unheldConsumption } from '../../testkit/unheld-consumption';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const groupId = 'turns';
let stack: Stack;

beforeAll(async () => {
  stack = await createStack([]);
});

afterAll(async () => {
  await stack?.stop();
});

async function uncommitted(): Promise<number> {
  return totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics));
}

test('a partition with a long backlog holds up none that has caught up, and each message is handled once', async () => {
  const send = (partition: number, count: number) =>
    produce(
      stack.kafka,
      topic,
      Array.from({ length: count }, () => ({ ...messageOf(viewed('turns')), partition })),
    );
  const handled: { partition: number; offset: number }[] = [];
  const dispatcher: Dispatcher = {
    sliceSize: 10,
    async dispatch(received, signal) {
      if (received[0]!.partition === 0) await pause(20, signal);
      signal.throwIfAborted();
      for (const { partition, entry } of received)
        handled.push({ partition, offset: entry.offset });
    },
    recordVanished: () => Promise.reject(new Error('Nothing vanishes here.')),
  };
  const count = (partition: number): number =>
    handled.filter((each) => each.partition === partition).length;
  for (let sent = 0; sent < 3_000; sent += 500) await send(0, 500);
  const logger = createLogger('test', 'silent');
  const topics = watchTopics(stack.kafka, eventTopics, logger);
  const consumer = startEventConsumer(
    { kafka: stack.kafka, dispatcher, topics, logger, ...unheldConsumption },
    { groupId, turnMs: 200 },
  );
  try {
    await until('the backlog is being handled', () => count(0) > 0);
    await send(1, 1);
    await until('the other partition is handled', () => count(1) === 1);
    expect(count(0)).toBeLessThan(3_000);
    await until('all is committed', async () => (await uncommitted()) === 0, { timeoutMs: 60_000 });
    expect(handled).toHaveLength(3_001);
  } finally {
    await consumer.stop();
    await topics.stop();
  }
}, 90_000);
