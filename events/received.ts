/**
 * Messages as they were received, in a form that Temporal's JSON payloads can carry without losing
 * a byte: what cannot be an event, or cannot be handled, is parked exactly as it came.
 */

/** Bytes as text where they are UTF-8 without NUL, otherwise as base64. */
export type EncodedBytes = { readonly text: string } | { readonly base64: string };

/** One header of a message, in the order in which it stood there. A name may come several times. */
export type ReceivedHeader = HeaderName & (EncodedBytes | NoValue);

/** A name as text for people, and its bytes in `nameBase64` where these are not the text's. */
interface HeaderName {
  readonly name: string;
  readonly nameBase64?: string;
}

/** A header without a value, which is not the same as one with an empty value. */
interface NoValue {
  readonly value: null;
}

/** One header of a message, as the bytes that it is. */
export interface RawHeader {
  readonly name: Buffer;
  readonly value: Buffer | null;
}

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
  /** All headers are too large to travel: these are only those that handling looks at. */
  readonly headersInKafka?: true;
  /** When it was produced, in ms since the epoch. */
  readonly producedAt: number;
}

/** Why a message is parked. */
export interface Refusal {
  /** The event's ID, where the message claims one. */
  readonly eventId?: string;
  /** Code of what is wrong, such as `NOT_JSON`. */
  readonly reason: string;
  /** What is wrong, for a person. */
  readonly detail: string;
}

/** A message that is to be parked; its value travels beside it, as bytes. */
export interface RefusedMessage extends Coordinates, Refusal {
  readonly key: EncodedBytes | null;
  readonly headers: readonly ReceivedHeader[];
  /** When it was produced, in ms since the epoch. */
  readonly producedAt: number;
}

/**
 * What is to be parked and is too large to travel, or cannot be read as messages at all: from `offset`
 * to `lastOffset`, both included. Whoever parks it reads it from Kafka.
 */
export interface RefusedOffsets extends Coordinates, Refusal {
  readonly lastOffset: number;
}

/** A message as it stands in Kafka. */
export interface RawMessage {
  readonly key: Buffer | null;
  readonly headers: readonly RawHeader[];
  /** What its producer calls its time: any number at all. */
  readonly timestamp: number;
}

/** A message as it is parked. */
export function refusedMessage(
  { topic, partition, offset }: Coordinates,
  { reason, detail }: Pick<Refusal, 'reason' | 'detail'>,
  message: RawMessage,
): RefusedMessage {
  const headers = message.headers.map(encodeHeader);
  const eventId = claimedEventId(headers);
  return {
    topic,
    partition,
    offset,
    reason,
    detail,
    key: message.key === null ? null : encodeBytes(message.key),
    headers,
    producedAt: producedAt(message),
    ...(eventId === undefined ? {} : { eventId }),
  };
}

/** When a message was produced, in ms since the epoch; 0 where it says no time that can be stored. */
export function producedAt({ timestamp }: Pick<RawMessage, 'timestamp'>): number {
  return timestamp >= 0 && timestamp <= latestTime ? timestamp : 0;
}

const latestTime = Date.UTC(9999, 11, 31);

// A message that is no event may still say which one it was meant to be.
function claimedEventId(headers: RefusedMessage['headers']): string | undefined {
  const claimed = readHeader(headers, 'ce_id');
  return claimed !== undefined && /^[\x21-\x7e]{1,128}$/.test(claimed) ? claimed : undefined;
}

/** Offsets that vanished before the group had read them. */
export interface VanishedOffsets {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  /** The last of them; absent where nobody can know. */
  readonly to?: number;
  /** Deleted by retention or on request before they were read; or the log was cut or made anew. */
  readonly reason: 'RETENTION' | 'TOPIC_MADE_ANEW';
}

/** Encodes a header so that {@link decodeHeader} gives the same bytes again. */
export function encodeHeader({ name, value }: RawHeader): ReceivedHeader {
  const encodedName = encodeBytes(name);
  const named: HeaderName =
    'text' in encodedName
      ? { name: encodedName.text }
      : // What people see: a NUL cannot be stored as text; its picture can.
        { name: name.toString('utf8').replaceAll('\0', '\u2400'), nameBase64: encodedName.base64 };
  return value === null ? { ...named, value: null } : { ...named, ...encodeBytes(value) };
}

/** The header that {@link encodeHeader} encoded. */
export function decodeHeader(header: ReceivedHeader): RawHeader {
  const { name, nameBase64 } = header;
  return {
    name: nameBase64 === undefined ? Buffer.from(name) : Buffer.from(nameBase64, 'base64'),
    value: 'value' in header ? null : decodeBytes(header),
  };
}

/** What a header of that name says as text, the last where it comes several times. */
export function readHeader(headers: readonly ReceivedHeader[], name: string): string | undefined {
  const header = headers.findLast((each) => each.name === name && each.nameBase64 === undefined);
  if (header === undefined || 'value' in header) return undefined;
  return decodeBytes(header).toString('utf8');
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
