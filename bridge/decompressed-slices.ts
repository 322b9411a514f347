/**
 * Decompresses fetched batches slice by slice, with a memory limit: a few kilobytes can decompress to
 * many megabytes, on every partition at once.
 */
import {
  maxDecompressedBytes,
  type FetchedBatch,
  type LogRecord,
  type UnreadableOffsets,
} from '../platform/kafka/record-batch';

/** Consecutive entries of a partition. */
export interface DecompressedSlice {
  /** Empty where there is nothing that a reader sees. */
  readonly entries: readonly (LogRecord | UnreadableOffsets)[];
  /** The offset after the slice. */
  readonly next: number;
}

/** Limit of the decompressed bytes in this process, over all partitions. */
const maxDecompressedAtOnce = 4 * maxDecompressedBytes;

/** Most bytes of messages in a slice; one entry may exceed it alone. */
const maxSliceBytes = 4 * 1024 * 1024;

let decompressedBytes = 0;
const waiting: (() => void)[] = [];

/**
 * The entries of the batches in slices. Slices span batches, so that many small batches of a producer
 * are handled together. The last slice reaches the end of the last batch. Waits while other partitions
 * use up the memory limit.
 *
 * @param batches of one partition, in their order
 * @param from offsets before it are skipped
 * @param size most entries of a slice
 */
export async function* decompressedSlices(
  batches: readonly FetchedBatch[],
  from: number,
  size: number,
): AsyncGenerator<DecompressedSlice> {
  const slice = createSlice();
  try {
    for (const batch of batches.filter(({ lastOffset }) => lastOffset >= from)) {
      // Not while it holds memory itself: others may wait for that (deadlock).
      if (isMemoryTaken() && !slice.isEmpty()) {
        yield slice.take(batch.firstOffset);
        slice.settle();
      }
      await untilMemoryIsFree();
      for (const entry of slice.open(batch)) {
        const last = entry.kind === 'record' ? entry.offset : entry.lastOffset;
        if (entry.kind === 'skipped' || last < from) continue;
        if (slice.isFull(entry, size)) {
          yield slice.take(entry.offset);
          slice.settle();
        }
        slice.add(entry);
      }
      slice.close();
    }
    const end = batches.at(-1)?.lastOffset ?? from - 1;
    if (end >= from) yield slice.take(end + 1);
  } finally {
    slice.release();
  }
}

function isMemoryTaken(): boolean {
  return decompressedBytes > maxDecompressedAtOnce - maxDecompressedBytes;
}

async function untilMemoryIsFree(): Promise<void> {
  while (isMemoryTaken()) await new Promise<void>((resolve) => waiting.push(resolve));
}

function giveBack(bytes: number): void {
  decompressedBytes -= bytes;
  for (const wake of waiting.splice(0)) wake();
}

/** The slice being filled, and the memory of the batches that its entries come from. */
function createSlice() {
  let entries: (LogRecord | UnreadableOffsets)[] = [];
  let bytes = 0;
  // Memory of the batches that are exhausted, and of the current one.
  let closedBytes = 0;
  let openBytes = 0;
  return {
    isEmpty: () => entries.length === 0,
    open(batch: FetchedBatch) {
      const opened = batch.open();
      openBytes = opened.bytes;
      decompressedBytes += openBytes;
      return opened.entries;
    },
    close(): void {
      closedBytes += openBytes;
      openBytes = 0;
    },
    isFull(entry: LogRecord | UnreadableOffsets, size: number): boolean {
      if (entries.length === 0) return false;
      return entries.length === size || bytes + lengthOf(entry) > maxSliceBytes;
    },
    add(entry: LogRecord | UnreadableOffsets): void {
      entries.push(entry);
      bytes += lengthOf(entry);
    },
    /** Returns the slice, and starts the next one. */
    take(next: number): DecompressedSlice {
      const taken = { entries, next };
      entries = [];
      bytes = 0;
      return taken;
    },
    /** The reader is done with the slice: only the current batch still uses memory. */
    settle(): void {
      giveBack(closedBytes);
      closedBytes = 0;
    },
    release(): void {
      giveBack(closedBytes + openBytes);
      closedBytes = 0;
      openBytes = 0;
    },
  };
}

function lengthOf(entry: LogRecord | UnreadableOffsets): number {
  if (entry.kind === 'unreadable') return entry.bytes.length;
  return entry.headers.reduce(
    (sum, { name, value }) => sum + name.length + (value?.length ?? 0),
    (entry.key?.length ?? 0) + (entry.value?.length ?? 0),
  );
}
