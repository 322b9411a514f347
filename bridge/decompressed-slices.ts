/**
 * Unpacks what was fetched slice by slice, with a bound on what is unpacked at a time: a few kilobytes
 * can unpack to many megabytes, on every partition at once.
 */
import {
  maxDecompressedBytes,
  type FetchedBatch,
  type LogRecord,
  type UnreadableOffsets,
} from '../platform/kafka/record-batch';

/** Some entries of a partition, in their order. */
export interface DecompressedSlice {
  /** Empty where there is nothing but what a reader skips. */
  readonly entries: readonly (LogRecord | UnreadableOffsets)[];
  /** The offset behind all that the slice covers. */
  readonly next: number;
}

/** Most bytes that are unpacked at a time in this process, over all partitions. */
const maxDecompressedAtOnce = 4 * maxDecompressedBytes;

/** Most bytes of messages in a slice; one entry may exceed it alone. */
const maxSliceBytes = 4 * 1024 * 1024;

let decompressedBytes = 0;
const waiting: (() => void)[] = [];

/**
 * The entries of the batches in slices, which go over the batches' ends: what a producer sends in many
 * small ones is handled together all the same. The last slice reaches the end of the last batch. Waits
 * while too much is unpacked elsewhere.
 *
 * @param batches of one partition, in their order
 * @param from offsets before it are left out
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
      // Not while it holds something itself: others may wait for that.
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

/** The slice that is being filled, and the memory of the batches that its entries are from. */
function createSlice() {
  let entries: (LogRecord | UnreadableOffsets)[] = [];
  let bytes = 0;
  // Of batches that are read to their end, and of the one that is not.
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
    /** The slice for the reader; the next one begins. */
    take(next: number): DecompressedSlice {
      const taken = { entries, next };
      entries = [];
      bytes = 0;
      return taken;
    },
    /** The reader is done with what it was given: only the batch that is still open takes memory. */
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
