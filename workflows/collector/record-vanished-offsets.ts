/** `recordVanishedOffsets`: records offsets that a topic lost before the group had read them. */
import type { createVanishedOffsetsActivities } from '../../activities/collector/vanished-offsets';
import type { VanishedOffsets } from '../../events/received';
import { localFirst } from '../activity-policies';

const records = localFirst<ReturnType<typeof createVanishedOffsetsActivities>>();

/** Records the offsets, once. The delivery audit publishes the shop's own events among them again. */
export async function recordVanishedOffsets(offsets: VanishedOffsets): Promise<void> {
  await records.recordVanished(offsets);
}
