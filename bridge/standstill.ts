/**
 * When a consumer group counts as standing still. Pure: judged by what the group has committed, look
 * by look, never by what a consumer says of itself. A consumer that is replaced each second, or that
 * beats its heart and does nothing else, is seen all the same.
 */
import type { PartitionLag } from '../platform/kafka/consumer-lag';

/** A partition in which nothing has been committed for too long, although there is something. */
interface StalledPartition {
  readonly topic: string;
  readonly partition: number;
  /** Where the group stands; null when it has committed nothing there. */
  readonly committed: number | null;
  /** For how long, in ms. */
  readonly forMs: number;
}

/** Sees standstills. */
export interface StandstillWatch {
  /**
   * Takes in where the group stands at a time.
   *
   * @param at ms on a clock that never goes back
   */
  observe(partitions: readonly PartitionLag[], at: number): void;
  /** Begins anew: nothing is known of the time since the last look. */
  forget(): void;
  /** What stands still, the longest first. */
  stalled(): readonly StalledPartition[];
}

/** For how long a partition may go without a commit while there is something to read in it, in ms. */
export const patienceMs = 30_000;

/**
 * The same in a backlog, in which other partitions move on and this one may wait its turn: a slice of
 * each may need all slots for a while.
 */
export const patienceInBacklogMs = 120_000;

interface Standing {
  readonly lag: PartitionLag;
  /** When it was first seen to stand where it stands, with something to read. */
  readonly since: number;
  /** When it was last seen to move on and be behind all the same. */
  readonly movedInBacklogAt: number | undefined;
}

/** A watch that has seen nothing yet. */
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
