/** Views are handed over without waiting, and none is dropped without being counted. */
import type { ViewFallback } from '../../api/products/view-fallback';
import { createViewPublisher, type ViewEvent } from '../../api/products/view-publisher';
import { parseMessage } from '../../events/parse';
import type { KafkaSender, OutgoingMessage } from '../../platform/kafka/sender';

interface Sending {
  readonly message: OutgoingMessage;
  acknowledge(): void;
  fail(): void;
}

function setUp({ connected = true } = {}) {
  const sendings: Sending[] = [];
  const taken: ViewEvent[] = [];
  const sender: KafkaSender = {
    send: ([message]) =>
      new Promise((resolve, reject) => {
        sendings.push({
          message: message!,
          acknowledge: () => resolve([]),
          fail: () => reject(new Error('brokers are away')),
        });
      }),
    isConnected: () => connected,
    stop: async () => undefined,
  };
  const fallback = {
    take: jest.fn<void, [ViewEvent]>((view) => void taken.push(view)),
    stop: jest.fn(async () => undefined),
  } satisfies ViewFallback;
  const views = createViewPublisher({ sender, fallback });
  return { views, sendings, taken, fallback };
}

test('a view is sent as an event that the collector accepts', () => {
  const { views, sendings } = setUp();
  views.publish('tea', 'ann');
  const { topic, key, value } = sendings[0]!.message;
  const event = parseMessage({
    topic,
    key: Buffer.from(key as string),
    value: Buffer.from(value as string),
  });
  expect(event).toMatchObject({ type: 'ProductViewed', data: { productId: 'tea', userId: 'ann' } });
});

test('a view by nobody in particular names no user', () => {
  const { views, sendings } = setUp();
  views.publish('tea');
  expect(JSON.parse(sendings[0]!.message.value as string).data).toEqual({ productId: 'tea' });
});

test('two views are two events', () => {
  const { views, sendings } = setUp();
  views.publish('tea', 'ann');
  views.publish('tea', 'ann');
  const ids = sendings.map(({ message }) => JSON.parse(message.value as string).id);
  expect(new Set(ids).size).toBe(2);
});

test('a view that was refused goes to the fallback under the same ID', async () => {
  const { views, sendings, taken } = setUp();
  views.publish('tea');
  sendings[0]!.fail();
  await new Promise(setImmediate);
  expect(taken).toEqual([JSON.parse(sendings[0]!.message.value as string)]);
});

test('while Kafka is unavailable nothing is attempted', () => {
  const { views, sendings, taken } = setUp({ connected: false });
  views.publish('tea');
  expect(sendings).toHaveLength(0);
  expect(taken).toHaveLength(1);
});

test('views that wait for the brokers are bounded in number', () => {
  const { views, sendings, taken } = setUp();
  for (let count = 0; count < 10_005; count += 1) views.publish('tea');
  expect(sendings).toHaveLength(10_000);
  expect(taken).toHaveLength(5);
});

describe('stopping', () => {
  test('waits for what is on its way, and then stops the fallback', async () => {
    const { views, sendings, taken, fallback } = setUp();
    views.publish('tea');
    views.publish('pot');
    const stopped = views.stop();
    sendings[0]!.acknowledge();
    sendings[1]!.fail();
    await stopped;
    expect(taken.map(({ subject }) => subject)).toEqual(['pot']);
    expect(fallback.stop).toHaveBeenCalledTimes(1);
  });

  test('hands over what is not acknowledged in time, once', async () => {
    jest.useFakeTimers();
    try {
      const { views, sendings, taken, fallback } = setUp();
      views.publish('tea');
      const stopped = views.stop();
      await jest.advanceTimersByTimeAsync(5_000);
      await stopped;
      expect(taken).toHaveLength(1);
      sendings[0]!.fail();
      await jest.advanceTimersByTimeAsync(0);
      expect(taken).toHaveLength(1);
      expect(fallback.stop).toHaveBeenCalledTimes(1);
    } finally {
      jest.useRealTimers();
    }
  });
});
