/**
 * Frames of a spool's file: groups of lines with a length and a checksum, so that a file whose end was
 * torn (a power cut, a full disk) can be read up to its last whole group, and a damaged group skipped.
 *
 *   4 bytes  length of the text, big-endian, never 0
 *   4 bytes  CRC-32C of the text
 *   the lines as UTF-8, with a line feed between two of them
 */
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
  /** How many frames have a wrong checksum; they are skipped. */
  readonly damagedGroups: number;
  /** Bytes at the end that are no frame. */
  readonly tornBytes: number;
}

/** Reads the frames of a file, but for the damaged ones. */
export function decodeFrames(bytes: Buffer): ReadFrames {
  const lines: string[] = [];
  let damagedGroups = 0;
  let at = 0;
  for (;;) {
    const text = textAt(bytes, at);
    if (text === undefined) return { lines, damagedGroups, tornBytes: bytes.length - at };
    if (crc32c(text) === bytes.readUInt32BE(at + 4)) lines.push(...text.toString().split('\n'));
    else damagedGroups += 1;
    at += headerBytes + text.length;
  }
}

function textAt(bytes: Buffer, at: number): Buffer | undefined {
  if (at + headerBytes > bytes.length) return undefined;
  const length = bytes.readUInt32BE(at);
  const text = bytes.subarray(at + headerBytes, at + headerBytes + length);
  // A file that a power cut left behind may end in zeros, whose checksum would be right.
  return length > 0 && text.length === length ? text : undefined;
}
