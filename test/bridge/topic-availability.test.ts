/** Which topics and partitions a bridge takes on, and when it makes another subscription. */
import { KafkaJSProtocolError } from 'kafkajs';
import { excludeForbidden, subscribeToReadable } from '../../bridge/topic-availability';
import type { TopicState, TopicWatch } from '../../platform/kafka/topic-watch';

const catalog: TopicState = { topic: 'catalog-events', leaderless: [] };
const orders: TopicState = { topic: 'order-events', leaderless: [] };
const missingOrders: TopicState = { ...orders, problem: 'missing' };
const partlyLed: TopicState = { ...orders, problem: 'leaderless', leaderless: [3] };

function fakeWatch(first: readonly TopicState[]) {
  let states = first;
  const listeners = new Set<() => void>();
  const refused: string[] = [];
  const watch: TopicWatch = {
    states: () => states,
    answers: () => true,
    poll: async () => undefined,
    markForbidden: (topic) => void refused.push(topic),
    onChange: (listener) => void listeners.add(listener),
    stop: async () => undefined,
  };
  const change = (next: readonly TopicState[]): void => {
    states = next;
    for (const listener of listeners) listener();
  };
  return { watch, change, refused };
}

const never = new AbortController().signal;

async function isOutdatedBy(
  before: readonly TopicState[],
  next: readonly TopicState[],
): Promise<boolean> {
  const { watch, change } = fakeWatch(before);
  const { outdated } = await subscribeToReadable(watch, never);
  change(next);
  return Promise.race([outdated.then(() => true), Promise.resolve(false).then((no) => no)]);
}

test.each([
  ['missing', [catalog, missingOrders], ['catalog-events']],
  ['forbidden', [catalog, { ...orders, problem: 'forbidden' as const }], ['catalog-events']],
  ['without one leader', [catalog, partlyLed], ['catalog-events', 'order-events']],
])('with a topic that is %s, what can be read is subscribed to', async (_, states, topics) => {
  const subscription = await subscribeToReadable(fakeWatch(states).watch, never);
  expect(subscription.topics).toEqual(topics);
});

test('a bridge without a topic to read waits until it is asked to stop', async () => {
  const stop = new AbortController();
  const subscribing = subscribeToReadable(fakeWatch([missingOrders]).watch, stop.signal);
  stop.abort();
  await expect(subscribing).rejects.toMatchObject({ name: 'AbortError' });
});

test.each([
  ['a topic appears', [catalog, missingOrders], [catalog, orders], true],
  ['a topic goes away', [catalog, orders], [catalog, missingOrders], true],
  ['a partition has its leader back', [catalog, partlyLed], [catalog, orders], true],
  ['a partition loses its leader', [catalog, orders], [catalog, partlyLed], false],
])('whether a new subscription is needed when %s', async (_, before, next, expected) => {
  expect(await isOutdatedBy(before, next)).toBe(expected);
});

test('a topic that the brokers refuse to hand out is left out', () => {
  const { watch, refused } = fakeWatch([catalog, orders]);
  const details = { message: 'no', type: 'TOPIC_AUTHORIZATION_FAILED', code: 29 };
  const refusal = new KafkaJSProtocolError(details as unknown as Error);
  excludeForbidden(watch, Object.assign(refusal, { topic: 'order-events' }));
  excludeForbidden(watch, new Error('something else'));
  expect(refused).toEqual(['order-events']);
});
