/**
 * Kafka's record batches (message format 2), read and written byte for byte.
 *
 * kafkajs' decoder can be blocked by a hostile producer: an exception in one record fails the fetch of
 * every partition, header names become keys of an object that is copied for each header, and a batch is
 * decompressed without a limit. Here nothing throws: unreadable bytes become an entry with a reason and
 * its offsets, and reading continues after it.
 * https://kafka.apache.org/documentation/#recordbatch
 */
import { crc32c } from '@node-rs/crc32';
import { decompress, DecompressionError } from './compression';

/** One header of a record. Names may repeat; neither part need be text. */
export interface RecordHeader {
  readonly name: Buffer;
  readonly value: Buffer | null;
}

/** A record: what a producer calls a message. */
export interface LogRecord {
  readonly kind: 'record';
  readonly offset: number;
  /** Create time, or log append time if the topic is configured so: ms since the epoch, unchecked. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** In their order. */
  readonly headers: readonly RecordHeader[];
}

/** Offsets without records for a reader: transaction markers and aborted records. */
interface SkippedOffsets {
  readonly kind: 'skipped';
  readonly offset: number;
  readonly lastOffset: number;
}

/** Why a range of the log cannot be read. */
export const unreadableReasons = [
  /** Wrong checksum, unknown format, or a malformed record. */
  'BROKEN_BATCH',
  /** Unknown codec, or corrupt compressed bytes. */
  'CANNOT_UNPACK',
  /** It decompresses to more than the limit. */
  'UNPACKS_TOO_LARGE',
  /** A record with more headers than the limit. */
  'TOO_MANY_HEADERS',
] as const;

/** One of {@link unreadableReasons}. */
type UnreadableReason = (typeof unreadableReasons)[number];

/** A range of the log that cannot be read, as raw bytes. */
export interface UnreadableOffsets {
  readonly kind: 'unreadable';
  readonly offset: number;
  readonly lastOffset: number;
  readonly reason: UnreadableReason;
  /** Human-readable detail. */
  readonly detail: string;
  /** The whole record batch or, for `TOO_MANY_HEADERS`, the record. */
  readonly bytes: Buffer;
}

export type LogEntry = LogRecord | SkippedOffsets | UnreadableOffsets;

/** A record batch as fetched, still compressed. */
export interface FetchedBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** Timestamp of the first record, ms since the epoch. */
  readonly firstTimestamp: number;
  /** Decompresses it. */
  open(): OpenBatch;
}

/** A decompressed record batch. */
interface OpenBatch {
  /** Memory use, in bytes. */
  readonly bytes: number;
  /** Its entries in order, covering every offset. Can be iterated once. */
  readonly entries: Iterable<LogEntry>;
}

/** An aborted transaction: this producer's records from here to its marker are void. */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

/**
 * Most bytes that a record batch may decompress to. Kafka's default limit for a batch as sent is 1 MiB.
 */
export const maxDecompressedBytes = 64 * 1024 * 1024;

/** Most headers of a record. Kafka has no limit; a megabyte holds half a million empty ones. */
export const maxHeaders = 200_000;

/**
 * The record batches of a fetched partition; a truncated last batch is left to the next fetch.
 *
 * @param aborted aborted transactions, from the same response
 * @param end the offset that the next message of the log will get
 */
export function readBatches(
  bytes: Buffer,
  aborted: readonly AbortedTransaction[] = [],
  end = Number.MAX_SAFE_INTEGER,
): FetchedBatch[] {
  const filter = createAbortedFilter(aborted);
  return framesOf(bytes).map((frame, index, frames) => {
    const next = frames[index + 1];
    return toBatch(frame, (next === undefined ? end : firstOffsetOf(next)) - 1, filter);
  });
}

// Byte offsets of a batch's fields.
const at = {
  firstOffset: 0,
  length: 8,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  recordCount: 57,
  records: 61,
} as const;

const magic = 2;
const attribute = { codec: 0x07, logAppendTime: 0x08, transactional: 0x10, control: 0x20 } as const;

/** The bytes of each complete batch. */
function framesOf(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let from = 0; from + at.magic < bytes.length;) {
    const end = from + at.magic - 4 + bytes.readInt32BE(from + at.length);
    if (end <= from + at.magic || end > bytes.length) break;
    frames.push(bytes.subarray(from, end));
    from = end;
  }
  return frames;
}

function timeOf(frame: Buffer): number {
  return hasHeader(frame) ? Number(frame.readBigInt64BE(at.firstTimestamp)) : 0;
}

// In older formats these bytes are part of the single message.
function hasHeader(frame: Buffer): boolean {
  return frame.readInt8(at.magic) === magic && frame.length >= at.records;
}

function firstOffsetOf(frame: Buffer): number {
  return Number(frame.readBigInt64BE(at.firstOffset));
}

function toBatch(frame: Buffer, mostOffset: number, filter: AbortedFilter): FetchedBatch {
  const firstOffset = firstOffsetOf(frame);
  const broken = whatIsBroken(frame);
  // A corrupt batch header may claim any number of offsets; the next batch's first offset and the end
  // of the log bound it. Not fewer: the broker trusts the header, and would return the same batch for
  // the next offset.
  const claimed = hasHeader(frame) ? Math.max(frame.readInt32BE(at.lastOffsetDelta), 0) : 0;
  const lastOffset = Math.max(Math.min(firstOffset + claimed, mostOffset), firstOffset);
  const base = { firstOffset, lastOffset, firstTimestamp: timeOf(frame) };
  if (broken !== undefined) {
    const entry = unreadable(frame, firstOffset, lastOffset, 'BROKEN_BATCH', broken);
    return { ...base, open: () => opened([entry]) };
  }
  if (filter.skips(frame, lastOffset)) {
    const entry: LogEntry = { kind: 'skipped', offset: firstOffset, lastOffset };
    return { ...base, open: () => opened([entry]) };
  }
  return { ...base, open: () => openBatch(frame, firstOffset, lastOffset) };
}

function whatIsBroken(frame: Buffer): string | undefined {
  if (frame.readInt8(at.magic) !== magic) {
    return `The message format is ${frame.readInt8(at.magic)}; only ${magic} can be read.`;
  }
  if (frame.length < at.records) return 'The batch is shorter than its header.';
  if (crc32c(frame.subarray(at.attributes)) !== frame.readUInt32BE(at.crc)) {
    return 'The checksum of the batch does not fit its bytes.';
  }
  return undefined;
}

function unreadable(
  bytes: Buffer,
  offset: number,
  lastOffset: number,
  reason: UnreadableReason,
  detail: string,
): UnreadableOffsets {
  return { kind: 'unreadable', offset, lastOffset, reason, detail, bytes };
}

interface AbortedFilter {
  /** Whether a batch has no records for a reader. Must be called in log order. */
  skips(frame: Buffer, lastOffset: number): boolean;
}

/**
 * Transactions overlap: each producer's is open from its first offset to its own marker, whatever order
 * they began in. (kafkajs 2.2.4 opens at most one for each record.)
 */
function createAbortedFilter(aborted: readonly AbortedTransaction[]): AbortedFilter {
  const toCome = aborted
    .map(({ producerId, firstOffset }) => ({ producerId, firstOffset: Number(firstOffset) }))
    .sort((one, other) => one.firstOffset - other.firstOffset);
  const open = new Set<bigint>();
  return {
    skips(frame, lastOffset) {
      while (toCome[0] !== undefined && toCome[0].firstOffset <= lastOffset) {
        open.add(toCome.shift()!.producerId);
      }
      const attributes = frame.readInt16BE(at.attributes);
      const producerId = frame.readBigInt64BE(at.producerId);
      if (attributes & attribute.control) {
        if (isAbortMarker(frame)) open.delete(producerId);
        return true;
      }
      return (attributes & attribute.transactional) !== 0 && open.has(producerId);
    },
  };
}

// A marker's key is its version and its type, 16 bits each; type 0 aborts.
function isAbortMarker(frame: Buffer): boolean {
  try {
    const reader = new VarintReader(frame, at.records);
    const record = readRecord(reader, frame, 0);
    return record.kind === 'record' && record.key !== null && record.key.readInt16BE(2) === 0;
  } catch {
    return false;
  }
}

function opened(entries: Iterable<LogEntry>, bytes = 0): OpenBatch {
  return { entries, bytes };
}

function openBatch(frame: Buffer, firstOffset: number, lastOffset: number): OpenBatch {
  const codec = frame.readInt16BE(at.attributes) & attribute.codec;
  try {
    const records = decompress(codec, frame.subarray(at.records), maxDecompressedBytes);
    return opened(recordsOf(frame, records, firstOffset, lastOffset), records.length);
  } catch (error) {
    if (!(error instanceof DecompressionError)) throw error;
    const reason = error.code === 'UNPACKS_TOO_LARGE' ? error.code : 'CANNOT_UNPACK';
    return opened([unreadable(frame, firstOffset, lastOffset, reason, error.message)]);
  }
}

function* recordsOf(
  frame: Buffer,
  records: Buffer,
  firstOffset: number,
  lastOffset: number,
): Generator<LogEntry> {
  const reader = new VarintReader(records, 0);
  const count = frame.readInt32BE(at.recordCount);
  let next = firstOffset;
  for (let index = 0; index < count; index += 1) {
    let entry: LogEntry;
    try {
      entry = readRecord(reader, frame, firstOffset);
      if (entry.offset < next || entry.offset > lastOffset) {
        throw new RangeError('a record claims an offset that is not its own');
      }
    } catch (error) {
      const detail = `Record ${index + 1} of ${count} cannot be decoded: ${(error as Error).message}.`;
      yield unreadable(frame, next, lastOffset, 'BROKEN_BATCH', detail);
      return;
    }
    // Compaction leaves gaps.
    if (entry.offset > next) yield { kind: 'skipped', offset: next, lastOffset: entry.offset - 1 };
    yield entry;
    next = entry.offset + 1;
  }
  if (next > lastOffset) return;
  if (reader.isAtEnd()) {
    yield { kind: 'skipped', offset: next, lastOffset };
  } else {
    // Skipped, they would be lost silently.
    const detail = `The batch has more records than the ${count} that it claims.`;
    yield unreadable(frame, next, lastOffset, 'BROKEN_BATCH', detail);
  }
}

function readRecord(
  reader: VarintReader,
  frame: Buffer,
  firstOffset: number,
): LogRecord | UnreadableOffsets {
  const bytes = reader.readBytes() ?? Buffer.alloc(0);
  const record = new VarintReader(bytes, 1); // Behind the attributes, which mean nothing so far.
  const timestampDelta = record.readVarlong();
  const offset = firstOffset + record.readVarint();
  const key = record.readBytes();
  const value = record.readBytes();
  const headerCount = record.readVarint();
  if (headerCount < 0) throw new RangeError('the number of headers is negative');
  if (headerCount > maxHeaders) {
    const detail = `The record has ${headerCount} headers; at most ${maxHeaders} are allowed.`;
    return unreadable(bytes, offset, offset, 'TOO_MANY_HEADERS', detail);
  }
  const headers = Array.from({ length: headerCount }, (): RecordHeader => {
    const name = record.readBytes();
    if (name === null) throw new RangeError('a header has no name');
    return { name, value: record.readBytes() };
  });
  if (!record.isAtEnd()) throw new RangeError('there are bytes after its headers');
  const timestamp = timestampOf(frame, timestampDelta);
  return { kind: 'record', offset, timestamp, key, value, headers };
}

function timestampOf(frame: Buffer, delta: bigint): number {
  const isAppendTime = frame.readInt16BE(at.attributes) & attribute.logAppendTime;
  return Number(
    isAppendTime
      ? frame.readBigInt64BE(at.maxTimestamp)
      : frame.readBigInt64BE(at.firstTimestamp) + delta,
  );
}

/** Reads zigzag varints and length-prefixed bytes. */
class VarintReader {
  constructor(
    private readonly bytes: Buffer,
    private position: number,
  ) {}

  isAtEnd(): boolean {
    return this.position === this.bytes.length;
  }

  /** @throws RangeError past the end, or when it is longer than 64 bits */
  readVarlong(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes.readUInt8(this.position);
      this.position += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
    }
    throw new RangeError('a number is longer than 64 bits');
  }

  /** @throws RangeError past the end, or when it is longer than 32 bits */
  readVarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes.readUInt8(this.position);
      this.position += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw new RangeError('a number is longer than 32 bits');
  }

  /** Null for a length of -1. @throws RangeError past the end */
  readBytes(): Buffer | null {
    const length = this.readVarint();
    if (length === -1) return null;
    const end = this.position + length;
    if (length < 0 || end > this.bytes.length)
      throw new RangeError('bytes end past the end of the record');
    const read = this.bytes.subarray(this.position, end);
    this.position = end;
    return read;
  }
}

/** A record to be sent. */
export interface OutgoingRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/** The producer's identity, by which the broker detects duplicates. */
export interface BatchProducer {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly firstSequence: number;
}

/** Encodes a record batch, uncompressed. */
export function writeBatch(
  records: readonly OutgoingRecord[],
  timestamp: number,
  { producerId, producerEpoch, firstSequence }: BatchProducer,
): Buffer {
  const body = records.map(writeRecord);
  const head = Buffer.alloc(at.records);
  const length = body.reduce((sum, record) => sum + record.length, head.length);
  head.writeInt32BE(length - at.magic + 4, at.length);
  head.writeInt32BE(-1, 12); // The leader's epoch: the broker writes it.
  head.writeInt8(magic, at.magic);
  head.writeInt32BE(records.length - 1, at.lastOffsetDelta);
  head.writeBigInt64BE(BigInt(timestamp), at.firstTimestamp);
  head.writeBigInt64BE(BigInt(timestamp), at.maxTimestamp);
  head.writeBigInt64BE(producerId, at.producerId);
  head.writeInt16BE(producerEpoch, 51);
  head.writeInt32BE(firstSequence, 53);
  head.writeInt32BE(records.length, at.recordCount);
  const batch = Buffer.concat([head, ...body], length);
  batch.writeUInt32BE(crc32c(batch.subarray(at.attributes)), at.crc);
  return batch;
}

function writeRecord({ key, value, headers }: OutgoingRecord, offsetDelta: number): Buffer {
  const parts = [
    Buffer.from([0, 0]), // No attributes, and no time later than the batch's.
    varint(offsetDelta),
    ...withLength(key),
    ...withLength(value),
    varint(headers.length),
    ...headers.flatMap((header) => [...withLength(header.name), ...withLength(header.value)]),
  ];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([varint(length), ...parts]);
}

function withLength(bytes: Buffer | null): Buffer[] {
  return bytes === null ? [varint(-1)] : [varint(bytes.length), bytes];
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = ((value << 1) ^ (value >> 31)) >>> 0;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}
