/**
 * Detects a stalled consumer group. Pure: judged by the committed offsets of successive polls, never by
 * what a consumer reports. So it also catches a consumer that is replaced each second, or that only
 * sends heartbeats.
 */
import type { PartitionLag } from '../platform/kafka/consumer-lag';

/** A partition without a commit for too long, although messages wait. */
interface StalledPartition {
  readonly topic: string;
  readonly partition: number;
  /** The committed offset; null when there is none. */
  readonly committed: number | null;
  /** For how long it has been stalled, in ms. */
  readonly forMs: number;
}

/** Detects stalled partitions. */
export interface StandstillWatch {
  /**
   * Takes the position of the group at a time.
   *
   * @param at ms on a monotonic clock
   */
  observe(partitions: readonly PartitionLag[], at: number): void;
  /** Resets: nothing is known about the time since the last poll. */
  forget(): void;
  /** Stalled partitions, the longest stalled first. */
  stalled(): readonly StalledPartition[];
}

/** Stall timeout: how long a partition with lag may go without a commit, in ms. */
export const patienceMs = 30_000;

/**
 * The same in a backlog in which other partitions make progress: a slice of each may need all slots for
 * a while.
 */
export const patienceInBacklogMs = 120_000;

interface Standing {
  readonly lag: PartitionLag;
  /** When it was first seen at this position with lag. */
  readonly since: number;
  /** When it was last seen to make progress and still have lag. */
  readonly movedInBacklogAt: number | undefined;
}

/** A watch without a first position. */
export function createStandstillWatch(): StandstillWatch {
  let known = new Map<string, Standing>();
  let now = 0;
  return {
    observe(partitions, at) {
      now = at;
      known = new Map(
        partitions.map((lag) => {
          const key = `${lag.topic}/${lag.partition}`;
          return [key, stand(lag, known.get(key), at)];
        }),
      );
    },
    forget() {
      known = new Map();
    },
    stalled() {
      const all = [...known.values()];
      const othersMove = all.some(
        ({ movedInBacklogAt: movedAt }) => movedAt !== undefined && now - movedAt < patienceMs,
      );
      const patience = othersMove ? patienceInBacklogMs : patienceMs;
      return all
        .filter(({ lag, since }) => canMove(lag) && now - since >= patience)
        .map(({ lag: { topic, partition, committed }, since }) => ({
          topic,
          partition,
          committed,
          forMs: now - since,
        }))
        .sort((one, other) => other.forMs - one.forMs);
    },
  };
}

function canMove({ lag, heldBackBy }: PartitionLag): boolean {
  return lag > 0 && heldBackBy === undefined;
}

function stand(lag: PartitionLag, before: Standing | undefined, at: number): Standing {
  const stayed =
    before !== undefined &&
    before.lag.committed === lag.committed &&
    canMove(before.lag) &&
    canMove(lag);
  if (stayed) return { ...before, lag };
  const movedInBacklog =
    before !== undefined && canMove(before.lag) && canMove(lag) ? at : before?.movedInBacklogAt;
  return { lag, since: at, movedInBacklogAt: movedInBacklog };
}
