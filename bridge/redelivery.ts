/**
 * Where messages may be redelivered ones: from the position where this process begins to read a partition,
 * or that it goes back to, until the first that are new. Only there the bridge asks the database what is
 * handled already. Nothing rests on it: what is handled is also refused where it is applied, as are the
 * messages of a partition that another bridge has read in between.
 */
import type { PartitionMessage } from './workflow-plan';

/** Remembers where each partition is read. */
export interface RedeliveryWatch {
  /** Whether messages of this slice may have been delivered before. Called for each slice, in order. */
  observe(slice: readonly PartitionMessage[]): boolean;
  /** These messages are new: so are those behind them, until their partition is read from elsewhere. */
  areNew(messages: readonly PartitionMessage[]): void;
}

interface Position {
  /** The last offset that was read. */
  readonly last: number;
  readonly isBehindNew: boolean;
}

export function createRedeliveryWatch(): RedeliveryWatch {
  const positions = new Map<string, Position>();
  return {
    observe(slice) {
      const [first, last] = [slice[0], slice.at(-1)];
      if (first === undefined || last === undefined) return false;
      const before = positions.get(partitionOf(first));
      const isBehindNew = before?.isBehindNew === true && first.entry.offset > before.last;
      positions.set(partitionOf(first), { last: lastOffsetOf(last), isBehindNew });
      return !isBehindNew;
    },
    areNew(messages) {
      for (const message of messages) {
        const { last } = positions.get(partitionOf(message)) ?? { last: lastOffsetOf(message) };
        positions.set(partitionOf(message), { last, isBehindNew: true });
      }
    },
  };
}

function partitionOf({ topic, partition }: PartitionMessage): string {
  return `${topic}/${partition}`;
}

function lastOffsetOf({ entry }: PartitionMessage): number {
  return entry.kind === 'unreadable' ? entry.lastOffset : entry.offset;
}
