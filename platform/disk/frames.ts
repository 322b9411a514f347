/**
 * Frames of a spool's file: groups of lines with a length and a checksum, so that damage anywhere (a power
 * cut, a full disk, a bad sector) costs the groups that it touches: behind it, the next frame is where a
 * length and its checksum are right again.
 *
 *   4 bytes  length of the text, big-endian, never 0
 *   4 bytes  CRC-32C of the text
 *   the lines as UTF-8, with a line feed between two of them
 */
import { isUtf8 } from 'node:buffer';
import { crc32c } from '@node-rs/crc32';

const headerBytes = 8;

/** One frame with these lines; none may contain a line feed. */
export function encodeFrame(lines: readonly string[]): Buffer {
  const text = lines.join('\n');
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(headerBytes + length);
  frame.write(text, headerBytes);
  frame.writeUInt32BE(length, 0);
  frame.writeUInt32BE(crc32c(frame.subarray(headerBytes)), 4);
  return frame;
}

/** What a file holds. */
export interface ReadFrames {
  /** In the order in which they were written. */
  readonly lines: readonly string[];
  /** How many stretches between frames are none; one may have been several groups, side by side. */
  readonly damagedGroups: number;
  /** Bytes of these stretches. */
  readonly damagedBytes: number;
  /** Bytes at the end that are no frame. */
  readonly tornBytes: number;
}

/** Reads the frames of a file, but for the damaged ones. */
export function decodeFrames(bytes: Buffer): ReadFrames {
  const lines: string[] = [];
  let damagedGroups = 0;
  let damagedBytes = 0;
  let end = 0;
  for (const { at, text } of framesOf(bytes)) {
    if (at > end) {
      damagedGroups += 1;
      damagedBytes += at - end;
    }
    lines.push(...text.toString().split('\n'));
    end = at + headerBytes + text.length;
  }
  return { lines, damagedGroups, damagedBytes, tornBytes: bytes.length - end };
}

interface Frame {
  readonly at: number;
  readonly text: Buffer;
}

/**
 * Bounds the search behind damage, in bytes whose checksum turned out wrong: some tenths of a second. Random
 * bytes in place of a file of 1 MiB come to a third of it. Text and zeros contain no lengths, and cost nothing.
 */
const searchedBytes = 128 * 1024 * 1024;

/**
 * A damaged frame's length cannot be trusted, so what follows is looked for byte by byte. The checksum of
 * four bytes of ones, as an erased flash has them, is ones as well: they are no text.
 */
function* framesOf(bytes: Buffer): Generator<Frame> {
  let wrongBytes = 0;
  let at = 0;
  while (at + headerBytes < bytes.length && wrongBytes <= searchedBytes) {
    const text = textAt(bytes, at);
    if (text !== undefined && crc32c(text) === bytes.readUInt32BE(at + 4) && isUtf8(text)) {
      yield { at, text };
      at += headerBytes + text.length;
    } else {
      wrongBytes += text?.length ?? 0;
      at += 1;
    }
  }
}

/** What would be the text of a frame there. */
function textAt(bytes: Buffer, at: number): Buffer | undefined {
  const length = bytes.readUInt32BE(at);
  const start = at + headerBytes;
  // A file that a power cut left behind may end in zeros, whose checksum would be right.
  if (length === 0 || length > bytes.length - start) return undefined;
  return bytes.subarray(start, start + length);
}
