/** Converts a message of kafkajs to the activities' input, as the bridge does. */
import type { KafkaMessage } from 'kafkajs';
import { parseMessage } from '../events/parse';
import type { ReceivedEvent } from '../events/received';

/** The parts of a message that an event is made of. */
export type MessageParts = Pick<KafkaMessage, 'key' | 'value' | 'offset' | 'timestamp'>;

/** The event of a message. @throws InvalidEventError when it carries none */
export function receiveEvent(
  topic: string,
  partition: number,
  { key, value, offset, timestamp }: MessageParts,
): ReceivedEvent {
  const event = parseMessage({ topic, key, value });
  return {
    topic,
    partition,
    offset: Number(offset),
    eventId: event.id,
    key: event.subject,
    value: value!.toString(),
    headers: [],
    producedAt: Number(timestamp),
  };
}
