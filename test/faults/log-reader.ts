/** Reads topics that anybody may have written to, whatever it is that stands in them. */
import type { Kafka, KafkaMessage } from 'kafkajs';
import { batchOf, fetchWholeBatches } from '../../platform/kafka/protocol';
import type { LogRecord } from '../../platform/kafka/record-batch';
import { readToEnd, type TopicMessage } from '../../testkit/topic-reader';

/**
 * Every message that the topic holds now, by partition and offset, without those of transactions that
 * were aborted. What cannot be read as messages is left out: the ledger knows of that, too.
 *
 * @throws NonconformingMessageError for one of the pipeline's that its description does not allow
 */
export function readLog(kafka: Kafka, topic: string): Promise<TopicMessage[]> {
  fetchWholeBatches();
  return readToEnd(kafka, topic, (partition, message) =>
    recordsOf(message).map((record) => toMessage(partition, record)),
  );
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
