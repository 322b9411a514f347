/**
 * Unpacks what producers compressed, with every codec of Kafka's, and never into more memory than
 * allowed: a kilobyte that claims to be a gigabyte is refused before that gigabyte exists.
 */
import { gunzipSync } from 'node:zlib';
import { Decompress } from 'fzstd';
import { decompressFrameSync } from 'lz4-napi';
import { uncompressSync } from 'snappy';

/** The codecs by the number that a record batch names them with (three bits of its attributes). */
export const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

/** Why bytes cannot be unpacked. No retry can help. */
export type UnpackErrorCode = 'UNKNOWN_CODEC' | 'UNPACKS_TOO_LARGE' | 'CANNOT_UNPACK';

/** The bytes cannot be unpacked as they are. */
export class UnpackError extends Error {
  override readonly name = 'UnpackError';

  constructor(
    readonly code: UnpackErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/**
 * The bytes that a producer compressed.
 *
 * @param codec number of the codec, as in a record batch's attributes
 * @param limit most bytes that may come of it
 * @throws UnpackError
 */
export function unpack(codec: number, bytes: Buffer, limit: number): Buffer {
  const unpackBytes = unpackers[codec];
  if (unpackBytes === undefined) {
    throw new UnpackError('UNKNOWN_CODEC', `Kafka has no compression codec ${codec}.`);
  }
  try {
    return unpackBytes(bytes, limit);
  } catch (cause) {
    if (cause instanceof UnpackError) throw cause;
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(limit);
    const name = codecNames[codec] ?? codec;
    throw new UnpackError('CANNOT_UNPACK', `The bytes cannot be unpacked with ${name}.`, { cause });
  }
}

type Unpacker = (bytes: Buffer, limit: number) => Buffer;

const unpackers: readonly Unpacker[] = [
  (bytes, limit) => refuseLarger(bytes.length, limit) && bytes,
  (bytes, limit) => gunzipSync(bytes, { maxOutputLength: limit }),
  unpackSnappy,
  (bytes, limit) => refuseLarger(unpackedLz4Length(bytes), limit) && decompressFrameSync(bytes),
  unpackZstd,
];

function refuseLarger(length: number, limit: number): true {
  if (length > limit) throw tooLarge(limit);
  return true;
}

function tooLarge(limit: number): UnpackError {
  return new UnpackError('UNPACKS_TOO_LARGE', `The bytes unpack to more than ${limit} bytes.`);
}

// Java's client frames Snappy as https://github.com/xerial/snappy-java does; librdkafka sends one bare
// block. Both begin with what their block unpacks to.
const xerialMagic = Buffer.from([0x82, ...Buffer.from('SNAPPY'), 0]);
const xerialHeaderBytes = 16;

function unpackSnappy(bytes: Buffer, limit: number): Buffer {
  const blocks = bytes.subarray(0, xerialMagic.length).equals(xerialMagic)
    ? xerialBlocks(bytes)
    : [bytes];
  refuseLarger(
    blocks.reduce((sum, block) => sum + unpackedSnappyLength(block), 0),
    limit,
  );
  // Without options it answers a Buffer.
  return Buffer.concat(blocks.map((block) => uncompressSync(block) as Buffer));
}

function xerialBlocks(bytes: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = xerialHeaderBytes; at < bytes.length;) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new RangeError('A block ends behind the bytes.');
    blocks.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return blocks;
}

function unpackedSnappyLength(block: Buffer): number {
  let length = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = block.readUInt8(index);
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return length;
  }
  throw new RangeError('The length of a block is no number of 32 bits.');
}

const lz4Magic = 0x184d2204;

/**
 * What an LZ4 frame unpacks to, found by walking through its sequences without unpacking them: the
 * frame itself need not say.
 * https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
function unpackedLz4Length(frame: Buffer): number {
  if (frame.readUInt32LE(0) !== lz4Magic) throw new RangeError('The bytes are no LZ4 frame.');
  const flags = frame.readUInt8(4);
  const blockChecksumBytes = flags & 0x10 ? 4 : 0;
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
  let length = 0;
  for (;;) {
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) {
      const end = at + (flags & 0x04 ? 4 : 0);
      if (end !== frame.length) throw new RangeError('There are bytes behind the LZ4 frame.');
      return length;
    }
    const bytes = size & 0x7fffffff;
    length += size >>> 31 ? bytes : unpackedLz4BlockLength(frame, at, at + bytes);
    at += bytes + blockChecksumBytes;
  }
}

function unpackedLz4BlockLength(frame: Buffer, from: number, end: number): number {
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

/** The largest window of a zstd frame, in bytes: what RFC 8878 asks of every reader, and levels to 19 need. */
const maxZstdWindowBytes = 8 * 1024 * 1024;

/** fzstd moves the window once for each block: most bytes that it may move, some seconds of work. */
const maxZstdMovedBytes = 16 * 1024 ** 3;

function unpackZstd(bytes: Buffer, limit: number): Buffer {
  const frames = [...zstdFrames(bytes)];
  refuseLarger(Math.max(0, ...frames.map(({ window }) => window)), maxZstdWindowBytes);
  const moved = frames.reduce((sum, { window, blocks }) => sum + window * blocks, 0);
  refuseLarger(moved, maxZstdMovedBytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (const { frame } of frames) {
    const stream = new Decompress((chunk) => {
      length += chunk.length;
      refuseLarger(length, limit);
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
  /** How much of what is unpacked has to be at hand for what comes, in bytes. */
  readonly window: number;
}

/** The frames one by one, found by walking over their blocks. */
function* zstdFrames(bytes: Buffer): Generator<ZstdFrame> {
  for (let at = 0; at < bytes.length;) {
    const start = at;
    const magic = bytes.readUInt32LE(at);
    if (magic !== zstdMagic) {
      if (magic >>> 4 !== skippableMagic) throw new RangeError('The bytes are no zstd frame.');
      // A frame to be skipped says how long it is.
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    at += zstdHeaderBytes(bytes, at);
    let blocks = 0;
    for (let last = false; !last; blocks += 1) {
      const header = bytes.readUIntLE(at, 3);
      last = (header & 1) === 1;
      // A block of one repeated byte holds that byte only.
      at += 3 + (((header >> 1) & 3) === 1 ? 1 : header >> 3);
    }
    if (bytes.readUInt8(start + 4) & 0x04) at += 4;
    if (at > bytes.length) throw new RangeError('A frame ends behind the bytes.');
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
