/** `recordVanishedOffsets`: puts on record what a topic lost before the group had read it. */
import type { createVanishedOffsetsActivities } from '../../activities/collector/vanished-offsets';
import type { VanishedOffsets } from '../../events/received';
import { localFirst } from '../activity-policies';

const records = localFirst<ReturnType<typeof createVanishedOffsetsActivities>>();

/** Records the offsets, once. What of them the shop itself had sent, the delivery audit sends again. */
export async function recordVanishedOffsets(offsets: VanishedOffsets): Promise<void> {
  await records.recordVanished(offsets);
}
