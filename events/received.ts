/**
 * Messages as they were received, in a form that Temporal's JSON payloads can carry without losing
 * a byte: what cannot be an event, or cannot be handled, is parked exactly as it came.
 */

/** Bytes as text where they are UTF-8 without NUL, otherwise as base64. */
export type EncodedBytes = { readonly text: string } | { readonly base64: string };

/** One header of a message. A name may come several times. */
export type ReceivedHeader = { readonly name: string } & EncodedBytes;

/** Where a message stood in Kafka. */
export interface Coordinates {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** A message that carries a valid event. */
export interface ReceivedEvent extends Coordinates {
  /** The event's ID, as in `value`. */
  readonly eventId: string;
  readonly key: string;
  /** The event as JSON, byte for byte as it came. */
  readonly value: string;
  readonly headers: readonly ReceivedHeader[];
  /** When it was produced, in ms since the epoch. */
  readonly producedAt: number;
}

/** A message that is to be parked; its value travels beside it, as bytes. */
export interface RefusedMessage extends Coordinates {
  readonly key: EncodedBytes | null;
  readonly headers: readonly ReceivedHeader[];
  /** When it was produced, in ms since the epoch. */
  readonly producedAt: number;
  /** The event's ID, where one could be read. */
  readonly eventId?: string;
  /** Code of what is wrong, such as `NOT_JSON`. */
  readonly reason: string;
  /** What is wrong, for a person. */
  readonly detail: string;
}

/** Encodes bytes so that {@link decodeBytes} gives the same bytes again. */
export function encodeBytes(bytes: Uint8Array): EncodedBytes {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString('utf8');
  // Invalid UTF-8 does not come back the same, and NUL cannot be stored as text in PostgreSQL.
  if (!text.includes('\0') && Buffer.from(text, 'utf8').equals(buffer)) return { text };
  return { base64: buffer.toString('base64') };
}

/** The bytes that {@link encodeBytes} encoded. */
export function decodeBytes(encoded: EncodedBytes): Buffer {
  return 'text' in encoded
    ? Buffer.from(encoded.text, 'utf8')
    : Buffer.from(encoded.base64, 'base64');
}
