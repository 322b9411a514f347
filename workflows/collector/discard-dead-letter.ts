/** `discardDeadLetter`: discards a dead letter, and records who did so and why. */
import type { createDeadLetterResolutionActivities } from '../../activities/collector/dead-letter-resolution';
import type { DiscardDeadLetter, DiscardOutcome } from '../../events/redrive';
import { localFirst } from '../activity-policies';

const resolution = localFirst<ReturnType<typeof createDeadLetterResolutionActivities>>();

/** Marks the dead letter as discarded, unless it is or is being redriven. */
export async function discardDeadLetter(command: DiscardDeadLetter): Promise<DiscardOutcome> {
  return resolution.markDiscarded(command);
}
