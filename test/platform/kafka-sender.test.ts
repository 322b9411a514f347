import type { Kafka } from 'kafkajs';
import { createKafkaSender } from '../../platform/kafka-sender';
import { createLogger } from '../../platform/logger';
import { until } from '../integration/until';

/** A Kafka whose producer acknowledges everything at once; it counts requests. */
function fakeKafka() {
  const requests: number[] = [];
  const producer = {
    connect: () => Promise.resolve(),
    disconnect: () => Promise.resolve(),
    sendBatch: ({ topicMessages }: { topicMessages: { messages: unknown[] }[] }) => {
      requests.push(topicMessages.flatMap(({ messages }) => messages).length);
      return Promise.resolve([]);
    },
  };
  return { kafka: { producer: () => producer } as unknown as Kafka, requests };
}

const message = { topic: 'catalog-events', key: 'k', value: 'v' };

test('messages that are handed over right after an acknowledgement are sent too', async () => {
  const { kafka } = fakeKafka();
  const sender = createKafkaSender(kafka, createLogger('test', 'silent'));
  await until('it is connected', () => sender.isConnected());
  const publish = async () => {
    await sender.send([message]);
  };
  for (let count = 0; count < 50; count += 1) await publish();
  await sender.stop();
});

test('what arrives while a request is under way leaves with the next one', async () => {
  const { kafka, requests } = fakeKafka();
  const sender = createKafkaSender(kafka, createLogger('test', 'silent'));
  await until('it is connected', () => sender.isConnected());
  await Promise.all(Array.from({ length: 100 }, () => sender.send([message])));
  expect(requests).toEqual([100]);
  await sender.stop();
});
