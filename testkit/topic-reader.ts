/** Reads topics from the start, plainly: what is there, in the order of each partition. */
import type { Kafka } from 'kafkajs';
import { randomUUID } from 'node:crypto';
import { checkMessage } from './asyncapi-conformance';
import { until } from './until';

/** A message as it stands in a topic. */
export interface TopicMessage {
  readonly partition: number;
  readonly offset: number;
  /** Empty when the message has none. */
  readonly key: string;
  /** Empty when the message has none. */
  readonly value: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/**
 * Every message that the topic holds now, by partition and offset.
 *
 * @throws NonconformingMessageError for one of the pipeline's that its description does not allow
 */
export async function readTopic(kafka: Kafka, topic: string): Promise<TopicMessage[]> {
  const admin = kafka.admin();
  await admin.connect();
  // A broker that has just come back may not lead its partitions yet.
  const ends = await until('the ends of the topic can be read', () =>
    admin.fetchTopicOffsets(topic),
  );
  await admin.disconnect();
  const left = new Map(
    ends.filter(({ low, high }) => high !== low).map((end) => [end.partition, Number(end.high)]),
  );
  const messages: TopicMessage[] = [];
  if (left.size === 0) return messages;

  const consumer = kafka.consumer({ groupId: `reader-${randomUUID()}` });
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      consumer
        .run({
          eachMessage: async ({ partition, message }) => {
            const offset = Number(message.offset);
            messages.push({
              partition,
              offset,
              key: message.key?.toString() ?? '',
              value: message.value?.toString() ?? '',
              headers: message.headers ?? {},
            });
            if (offset + 1 >= (left.get(partition) ?? 0)) left.delete(partition);
            if (left.size === 0) resolve();
          },
        })
        .catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
  for (const message of messages) checkMessage(topic, message);
  return messages.sort(
    (one, other) => one.partition - other.partition || one.offset - other.offset,
  );
}
