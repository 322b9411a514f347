import {
  KafkaJSProtocolError,
  type Kafka,
  type PartitionMetadata,
  type ProducerBatch,
  type ProducerConfig,
  type RecordMetadata,
  type TopicMessages,
} from 'kafkajs';
import {
  createKafkaSender,
  KafkaUnavailableError,
  TopicUnavailableError,
} from '../../platform/kafka/sender';
import { createLogger } from '../../platform/observability/logger';
import { until } from '../../testkit/until';

/** What the brokers answer to a request for a topic. */
type Answer = (topic: string) => Promise<Partial<RecordMetadata>[]>;

const acknowledged: Answer = async (topicName) => [{ topicName, partition: 0, baseOffset: '0' }];

/** A Kafka with one partition a topic, which answers at once; it counts the messages of requests. */
function fakeKafka(answer: Answer = acknowledged) {
  const requests: number[] = [];
  const createProducer = ({ createPartitioner }: ProducerConfig) => {
    const choosePartition = createPartitioner!();
    const sendBatch = ({ topicMessages = [] }: ProducerBatch) => {
      const [{ topic, messages }] = topicMessages as [TopicMessages];
      const partitionMetadata = [{ partitionId: 0, leader: 0 }] as PartitionMetadata[];
      for (const message of messages) choosePartition({ topic, partitionMetadata, message });
      requests.push(messages.length);
      return answer(topic);
    };
    const settle = () => Promise.resolve();
    return { connect: settle, disconnect: settle, sendBatch };
  };
  return { kafka: { producer: createProducer } as unknown as Kafka, requests };
}

const missing = () => {
  const details = { message: 'no such topic', type: 'UNKNOWN_TOPIC_OR_PARTITION', code: 3 };
  return Promise.reject(new KafkaJSProtocolError(details as unknown as Error));
};

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

test.each<[string, Partial<RecordMetadata>[]]>([
  ['nothing', []],
  ['another partition', [{ topicName: 'catalog-events', partition: 1, baseOffset: '7' }]],
  ['no offset', [{ topicName: 'catalog-events', partition: 0, baseOffset: '-1' }]],
])('a message counts as not sent when the answer names %s', async (_, records) => {
  const { kafka } = fakeKafka(async () => records);
  const sender = createKafkaSender(kafka, createLogger('test', 'silent'));
  await until('it is connected', () => sender.isConnected());
  await expect(sender.send([message])).rejects.toBeInstanceOf(KafkaUnavailableError);
  await sender.stop();
});

test('a missing topic fails its own messages only, and costs one request while it is known to be missing', async () => {
  const { kafka, requests } = fakeKafka((topic) =>
    topic === 'order-events' ? missing() : acknowledged(topic),
  );
  const sender = createKafkaSender(kafka, createLogger('test', 'silent'));
  await until('it is connected', () => sender.isConnected());
  const order = { ...message, topic: 'order-events' };
  const both = sender.send([order, message]);
  await expect(both).rejects.toMatchObject({ code: 'TOPIC_UNAVAILABLE', topic: 'order-events' });
  await expect(sender.send([order])).rejects.toBeInstanceOf(TopicUnavailableError);
  expect(requests).toEqual([1, 1]);
  await expect(sender.send([message])).resolves.toEqual([{ partition: 0, offset: 0 }]);
  expect(sender.isConnected('order-events')).toBe(false);
  expect(sender.isConnected('catalog-events')).toBe(true);
  await sender.stop();
});

test('a missing topic is tried again after a while', async () => {
  let isThere = false;
  const { kafka } = fakeKafka((topic) => (isThere ? acknowledged(topic) : missing()));
  const logger = createLogger('test', 'silent');
  const sender = createKafkaSender(kafka, logger, { topicRetryMs: 50 });
  await until('it is connected', () => sender.isConnected());
  await expect(sender.send([message])).rejects.toBeInstanceOf(TopicUnavailableError);
  isThere = true;
  await expect(until('it is sent', () => sender.send([message]))).resolves.toHaveLength(1);
  await sender.stop();
});
