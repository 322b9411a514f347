/** `parkDeadLetter`: puts a message that cannot be an event aside, byte for byte. */
import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { createDeadLetterActivities } from '../activities/dead-letters';
import type { RefusedMessage } from '../events/received';
import { localFirst, untilAcknowledged } from './activity-policies';

type DeadLetters = ReturnType<typeof createDeadLetterActivities>;

const parking = localFirst<DeadLetters>();
const copying = proxyActivities<DeadLetters>(untilAcknowledged);

/**
 * Parks the message once and copies it to its dead-letter topic.
 *
 * @param value the message's bytes, or null when it had none
 * @returns the dead letter's ID
 */
export async function parkDeadLetter(
  message: RefusedMessage,
  value: Uint8Array | null,
): Promise<number> {
  const id = await parking.parkMessage(message, value, workflowInfo().workflowId);
  await copying.copyToDeadLetterTopic(id);
  return id;
}
