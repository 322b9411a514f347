/**
 * Unpacks fetched batches slice by slice, with a bound on what is unpacked at a time: a few kilobytes
 * can unpack to many megabytes, on every partition at once.
 */
import {
  maxUnpackedBytes,
  type FetchedBatch,
  type LogRecord,
  type UnreadableOffsets,
} from '../platform/kafka-record-batch';

/** Some entries of a batch, in their order. */
export interface UnpackedSlice {
  /** Empty where there is nothing but what a reader skips. */
  readonly entries: readonly (LogRecord | UnreadableOffsets)[];
  /** The offset behind all that the slice covers. */
  readonly next: number;
}

/** Most bytes that are unpacked at a time in this process, over all partitions. */
const maxUnpackedAtOnce = 4 * maxUnpackedBytes;

/** Most bytes of messages in a slice; one entry may exceed it alone. */
const maxSliceBytes = 4 * 1024 * 1024;

let unpackedBytes = 0;
const waiting: (() => void)[] = [];

/**
 * The entries of a batch in slices; the last slice reaches the batch's end. Waits while too much is
 * unpacked elsewhere.
 *
 * @param from offsets before it are left out
 * @param size most entries of a slice
 */
export async function* unpackedSlices(
  batch: FetchedBatch,
  from: number,
  size: number,
): AsyncGenerator<UnpackedSlice> {
  if (batch.lastOffset < from) return;
  while (unpackedBytes > maxUnpackedAtOnce - maxUnpackedBytes) {
    await new Promise<void>((resolve) => waiting.push(resolve));
  }
  const { bytes, entries } = batch.open();
  unpackedBytes += bytes;
  try {
    yield* slicesOf(entries, batch.lastOffset + 1, from, size);
  } finally {
    unpackedBytes -= bytes;
    for (const wake of waiting.splice(0)) wake();
  }
}

function* slicesOf(
  entries: ReturnType<FetchedBatch['open']>['entries'],
  end: number,
  from: number,
  size: number,
): Generator<UnpackedSlice> {
  let slice: (LogRecord | UnreadableOffsets)[] = [];
  let bytes = 0;
  for (const entry of entries) {
    const last = entry.kind === 'record' ? entry.offset : entry.lastOffset;
    if (entry.kind === 'skipped' || last < from) continue;
    const length = lengthOf(entry);
    if (slice.length === size || (slice.length > 0 && bytes + length > maxSliceBytes)) {
      yield { entries: slice, next: entry.offset };
      slice = [];
      bytes = 0;
    }
    slice.push(entry);
    bytes += length;
  }
  yield { entries: slice, next: end };
}

function lengthOf(entry: LogRecord | UnreadableOffsets): number {
  if (entry.kind === 'unreadable') return entry.bytes.length;
  return entry.headers.reduce(
    (sum, { name, value }) => sum + name.length + (value?.length ?? 0),
    (entry.key?.length ?? 0) + (entry.value?.length ?? 0),
  );
}
