/** The name of a batch: a UUID of its messages. */
import { createHash } from 'node:crypto';
import { stringify } from 'uuid';
import type { ReceivedEvent } from '../events/received';

// Fixed for ever: during a deploy both versions of the bridge join the same batch.
const namespace = Buffer.from('0a4e6f5e3c0b4f538f0e0d6b7a0c9f2d', 'hex');

/**
 * The UUID in the workflow ID of a batch: the same for the same messages, whoever batches them, and
 * different if any event ID or position differs.
 */
export function deriveBatchUuid(
  events: readonly Pick<ReceivedEvent, 'eventId' | 'topic' | 'partition' | 'offset'>[],
): string {
  const messages = events.map(({ eventId, topic, partition, offset }) => [
    eventId,
    topic,
    partition,
    offset,
  ]);
  return uuidV5(JSON.stringify(messages));
}

// The hash is the runtime's: that of the package `uuid`, in JavaScript, takes 9 ms for a batch of 2,000.
function uuidV5(name: string): string {
  const bytes = createHash('sha1').update(namespace).update(name).digest().subarray(0, 16);
  // Version and variant, https://www.rfc-editor.org/rfc/rfc9562#section-5.5
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return stringify(bytes);
}
