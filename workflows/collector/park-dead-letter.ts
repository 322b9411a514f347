/** `parkDeadLetter`: parks an invalid message as a dead letter, byte for byte. */
import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { createDeadLetterActivities } from '../../activities/collector/dead-letters';
import type { RefusedMessage, RefusedOffsets } from '../../events/received';
import { localFirst, untilAcknowledged } from '../activity-policies';

type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const parking = localFirst<DeadLetters>();
const withKafka = proxyActivities<DeadLetters>(untilAcknowledged);

/**
 * Parks the message once and copies it to its dead-letter topic. A message that is too large to pass
 * on, or unreadable, is read from Kafka by the activity.
 *
 * @param value the message's bytes, or null when it had none; with a message only
 * @returns the dead letter's ID
 */
export async function parkDeadLetter(
  message: RefusedMessage | RefusedOffsets,
  value: Uint8Array | null = null,
): Promise<number> {
  const { workflowId } = workflowInfo();
  const id = await ('lastOffset' in message
    ? withKafka.parkOffsets(message, workflowId)
    : parking.parkMessage(message, value, workflowId));
  await withKafka.copyToDeadLetterTopic(id);
  return id;
}
