/** Reads topics from the start, in the order of each partition. */
import type { Kafka, KafkaMessage } from 'kafkajs';
import { randomUUID } from 'node:crypto';
import { checkMessage } from './asyncapi-conformance';
import { until } from './until';

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
 * Every message in the topic, by partition and offset.
 *
 * @throws NonconformingMessageError for a message of the pipeline that the AsyncAPI document does
 * not allow
 */
export function readTopic(kafka: Kafka, topic: string): Promise<TopicMessage[]> {
  return readToEnd(kafka, topic, (partition, message) => [toTopicMessage(partition, message)]);
}

/**
 * As {@link readTopic}, but `read` extracts any number of messages from each fetched entry.
 *
 * @throws NonconformingMessageError
 */
export async function readToEnd(
  kafka: Kafka,
  topic: string,
  read: (partition: number, fetched: KafkaMessage) => readonly TopicMessage[],
): Promise<TopicMessage[]> {
  const left = await readEnds(kafka, topic);
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
            messages.push(...read(partition, message));
            if (Number(message.offset) + 1 >= (left.get(partition) ?? 0)) left.delete(partition);
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

/** The end offsets of the partitions that are not empty. */
async function readEnds(kafka: Kafka, topic: string): Promise<Map<number, number>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    // A restarted broker may not lead its partitions yet.
    const ends = await until('the ends of the topic can be read', () =>
      admin.fetchTopicOffsets(topic),
    );
    const filled = ends.filter(({ low, high }) => high !== low);
    return new Map(filled.map(({ partition, high }) => [partition, Number(high)]));
  } finally {
    await admin.disconnect();
  }
}

function toTopicMessage(partition: number, message: KafkaMessage): TopicMessage {
  return {
    partition,
    offset: Number(message.offset),
    key: message.key?.toString() ?? '',
    value: message.value?.toString() ?? '',
    headers: message.headers ?? {},
  };
}
