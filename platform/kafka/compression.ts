/**
 * Decompresses records with every Kafka codec, within a size limit: a decompression bomb is rejected
 * before its memory is allocated.
 */
import { gunzipSync } from 'node:zlib';
import { Decompress } from 'fzstd';
import { decompressFrameSync } from 'lz4-napi';
import { uncompressSync } from 'snappy';

/** The codecs, by their number in a record batch (three bits of its attributes). */
export const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

/** Why bytes cannot be decompressed. Not retryable. */
export type DecompressionErrorCode = 'UNKNOWN_CODEC' | 'UNPACKS_TOO_LARGE' | 'CANNOT_UNPACK';

/** The bytes cannot be decompressed. */
export class DecompressionError extends Error {
  override readonly name = 'DecompressionError';

  constructor(
    readonly code: DecompressionErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * Decompresses what a producer compressed.
 *
 * @param codec number of the codec, as in a record batch's attributes
 * @param limit most bytes of output
 * @throws DecompressionError
 */
export function decompress(codec: number, bytes: Buffer, limit: number): Buffer {
  const decompressBytes = decompressors[codec];
  if (decompressBytes === undefined) {
    throw new DecompressionError('UNKNOWN_CODEC', `Kafka has no compression codec ${codec}.`);
  }
  try {
    return decompressBytes(bytes, limit);
  } catch (cause) {
    if (cause instanceof DecompressionError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    const name = codecNames[codec] ?? codec;
    throw new DecompressionError(
      'CANNOT_UNPACK',
      `The bytes cannot be decompressed with ${name}.`,
      { cause },
    );
  }
}

type Decompressor = (bytes: Buffer, limit: number) => Buffer;

const decompressors: readonly Decompressor[] = [
  (bytes, limit) => rejectLarger(bytes.length, limit) && bytes,
  (bytes, limit) => gunzipSync(bytes, { maxOutputLength: limit }),
  decompressSnappy,
  (bytes, limit) => rejectLarger(decompressedLz4Length(bytes), limit) && decompressFrameSync(bytes),
  decompressZstd,
];

function rejectLarger(length: number, limit: number): true {
  if (length > limit) throw tooLarge(limit);
  return true;
}

function tooLarge(limit: number): DecompressionError {
  return new DecompressionError(
    'UNPACKS_TOO_LARGE',
    `The bytes decompress to more than ${limit} bytes.`,
  );
}

// Java's client frames Snappy as https://github.com/xerial/snappy-java does; librdkafka sends one bare
// block. Both begin with the decompressed length of the block.
const xerialMagic = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0]);
const xerialHeaderBytes = 16;

function decompressSnappy(bytes: Buffer, limit: number): Buffer {
  const blocks = bytes.subarray(0, xerialMagic.length).equals(xerialMagic)
    ? xerialBlocks(bytes)
    : [bytes];
  rejectLarger(
    blocks.reduce((sum, block) => sum + decompressedSnappyLength(block), 0),
    limit,
  );
  // Without options it returns a Buffer.
  return Buffer.concat(blocks.map((block) => uncompressSync(block) as Buffer));
}

function xerialBlocks(bytes: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = xerialHeaderBytes; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new RangeError('A block ends past the end of the bytes.');
    blocks.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return blocks;
}

function decompressedSnappyLength(block: Buffer): number {
  let length = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = block.readUInt8(index);
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return length;
  }
  throw new RangeError('The length of a block exceeds 32 bits.');
}

const lz4Magic = 0x184d2204;

/**
 * Decompressed length of an LZ4 frame, found by scanning its sequences: the content size in its header
 * is optional.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
function decompressedLz4Length(frame: Buffer): number {
  if (frame.readUInt32LE(0) !== lz4Magic) throw new RangeError('The bytes are not an LZ4 frame.');
  const flags = frame.readUInt8(4);
  const blockChecksumBytes = flags & 0x10 ? 4 : 0;
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  let length = 0;
  for (;;) {
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) {
      const end = at + (flags & 0x04 ? 4 : 0);
      if (end !== frame.length) throw new RangeError('There are bytes after the LZ4 frame.');
      return length;
    }
    const bytes = size & 0x7fffffff;
    length += size >>> 31 ? bytes : decompressedLz4BlockLength(frame, at, at + bytes);
    at += bytes + blockChecksumBytes;
  }
}

function decompressedLz4BlockLength(frame: Buffer, from: number, end: number): number {
  let at = from;
  let length = 0;
  const readLength = (nibble: number): number => {
    let sum = nibble;
    for (let byte = nibble === 15 ? 255 : 0; byte === 255; sum += byte) {
      byte = frame.readUInt8(at);
      at += 1;
    }
    return sum;
  };
  while (at < end) {
    const token = frame.readUInt8(at);
    at += 1;
    const literals = readLength(token >> 4);
    at += literals;
    length += literals;
    if (at >= end) break; // The last sequence has literals only.
    at += 2;
    length += readLength(token & 0x0f) + 4;
  }
  return length;
}

/**
 * The largest window of a zstd frame, in bytes: RFC 8878 recommends it for every decoder, and levels up
 * to 19 need it.
 */
const maxZstdWindowBytes = 8 * 1024 * 1024;

/** fzstd copies the window for each block: the most bytes that it may copy, some seconds of work. */
const maxZstdMovedBytes = 16 * 1024 ** 3;

function decompressZstd(bytes: Buffer, limit: number): Buffer {
  const frames = [...zstdFrames(bytes)];
  rejectLarger(Math.max(0, ...frames.map(({ window }) => window)), maxZstdWindowBytes);
  const moved = frames.reduce((sum, { window, blocks }) => sum + window * blocks, 0);
  rejectLarger(moved, maxZstdMovedBytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (const { frame } of frames) {
    const stream = new Decompress((chunk) => {
      length += chunk.length;
      rejectLarger(length, limit);
      chunks.push(chunk);
    });
    stream.push(frame, true);
  }
  return Buffer.concat(chunks, length);
}

// https://www.rfc-editor.org/rfc/rfc8878#section-3.1
const zstdMagic = 0xfd2fb528;
/** Without its last four bits. */
const skippableMagic = 0x184d2a5;

interface ZstdFrame {
  readonly frame: Buffer;
  readonly blocks: number;
  /** Window size, in bytes. */
  readonly window: number;
}

/** Iterates over the frames by scanning their block headers. */
function* zstdFrames(bytes: Buffer): Generator<ZstdFrame> {
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const magic = bytes.readUInt32LE(at);
    if (magic !== zstdMagic) {
      if (magic >>> 4 !== skippableMagic) throw new RangeError('The bytes are not a zstd frame.');
      // A skippable frame has its length in its header.
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    at += zstdHeaderBytes(bytes, at);
    let blocks = 0;
    for (let last = false; !last; blocks += 1) {
      const header = bytes.readUIntLE(at, 3);
      last = (header & 1) === 1;
      // A run-length block holds a single byte.
      at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
    }
    if (bytes.readUInt8(start + 4) & 0x04) at += 4;
    if (at > bytes.length) throw new RangeError('A frame ends past the end of the bytes.');
    const frame = bytes.subarray(start, at);
    yield { frame, blocks, window: zstdWindowBytes(frame) };
  }
}

function zstdHeaderBytes(bytes: Buffer, at: number): number {
  const flags = bytes.readUInt8(at + 4);
  const isSingleSegment = (flags & 0x20) !== 0;
  const dictionaryBytes = [0, 1, 2, 4][flags & 3]!;
  return 5 + (isSingleSegment ? 0 : 1) + dictionaryBytes + zstdSizeBytes(flags);
}

function zstdSizeBytes(flags: number): number {
  return [flags & 0x20 ? 1 : 0, 2, 4, 8][flags >> 6]!;
}

function zstdWindowBytes(frame: Buffer): number {
  const flags = frame.readUInt8(4);
  if (flags & 0x20) {
    const sizeBytes = zstdSizeBytes(flags);
    const at = zstdHeaderBytes(frame, 0) - sizeBytes;
    return sizeBytes === 8 ? Number(frame.readBigUInt64LE(at)) : frame.readUIntLE(at, sizeBytes);
  }
  const descriptor = frame.readUInt8(5);
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}
