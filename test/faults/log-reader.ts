/** Reads topics that anybody may have written to, whatever it is that stands in them. */
import type { Kafka, KafkaMessage } from 'kafkajs';
import { randomUUID } from 'node:crypto';
import { batchOf, fetchWholeBatches } from '../../platform/kafka/protocol';
import type { LogRecord } from '../../platform/kafka/record-batch';
import { checkMessage } from '../../testkit/asyncapi-conformance';
import type { TopicMessage } from '../../testkit/topic-reader';

/**
 * Every message that the topic holds now, by partition and offset, without those of transactions that
 * were aborted. What cannot be read as messages is left out: the ledger knows of that, too.
 *
 * @throws NonconformingMessageError for one of the pipeline's that its description does not allow
 */
export async function readLog(kafka: Kafka, topic: string): Promise<TopicMessage[]> {
  fetchWholeBatches();
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
            messages.push(...recordsOf(message).map((record) => toMessage(partition, record)));
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

/** The ends of the partitions that hold something. */
async function readEnds(kafka: Kafka, topic: string): Promise<Map<number, number>> {
  const admin = kafka.admin();
  await admin.connect();
  try {
    const ends = await admin.fetchTopicOffsets(topic);
    const filled = ends.filter(({ low, high }) => high !== low);
    return new Map(filled.map(({ partition, high }) => [partition, Number(high)]));
  } finally {
    await admin.disconnect();
  }
}

function recordsOf(message: KafkaMessage): LogRecord[] {
  const batch = batchOf(message);
  if ('kind' in batch) return [];
  return [...batch.open().entries].filter((entry) => entry.kind === 'record');
}

function toMessage(partition: number, { offset, key, value, headers }: LogRecord): TopicMessage {
  return {
    partition,
    offset,
    key: key?.toString() ?? '',
    value: value?.toString() ?? '',
    headers: Object.fromEntries(headers.map((header) => [header.name.toString(), header.value])),
  };
}
