/** Reading a whole topic back, to compare what is in it with what should be. */
import { randomUUID } from 'node:crypto';
import type { Kafka } from 'kafkajs';
import { until } from './until';

/** A message as it stands in a topic. */
export interface TopicMessage {
  readonly partition: number;
  readonly offset: number;
  readonly key: string | undefined;
  readonly value: string | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Every message that is in the topic now, each partition's in order. */
export async function readTopic(kafka: Kafka, topic: string): Promise<TopicMessage[]> {
  const admin = kafka.admin();
  const consumer = kafka.consumer({ groupId: `read-${randomUUID()}`, maxWaitTimeInMs: 100 });
  await Promise.all([admin.connect(), consumer.connect()]);
  try {
    const ends = await admin.fetchTopicOffsets(topic);
    const expected = ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
    const messages: TopicMessage[] = [];
    if (expected === 0) return messages;
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        const { key, value, headers = {} } = message;
        const offset = Number(message.offset);
        messages.push({
          partition,
          offset,
          key: key?.toString(),
          value: value?.toString(),
          headers,
        });
      },
    });
    await until(`${expected} messages are read`, () => messages.length >= expected);
    return messages.sort(
      (one, other) => one.partition - other.partition || one.offset - other.offset,
    );
  } finally {
    await Promise.all([consumer.disconnect(), admin.disconnect()]);
  }
}
