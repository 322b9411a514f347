/**
 * Received messages in a lossless form for Temporal's JSON payloads: invalid ones, and events that
 * cannot be handled, are parked byte for byte.
 */

/** Bytes as text where they are UTF-8 without NUL, otherwise as base64. */
export type EncodedBytes = { readonly text: string } | { readonly base64: string };

/** A header of a message, in the message's order. Names may repeat. */
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

/** A header of a message, as bytes. */
export interface RawHeader {
  readonly name: Buffer;
  readonly value: Buffer | null;
}

/** The position of a message in Kafka. */
export interface Coordinates {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** The position of a message, for people. */
export function placeOf({ topic, partition, offset }: Coordinates): string {
  return `${topic}/${partition}, offset ${offset}`;
}

/** A message that carries a valid event. */
export interface ReceivedEvent extends Coordinates {
  /** The event's ID, as in `value`. */
  readonly eventId: string;
  readonly key: string;
  /** The event as JSON, byte for byte as it came. */
  readonly value: string;
  readonly headers: readonly ReceivedHeader[];
  /** The headers are too large to pass on: these are only those that handling reads. */
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

/** A message to be parked; its value is passed separately, as bytes. */
export interface RefusedMessage extends Coordinates, Refusal {
  readonly key: EncodedBytes | null;
  readonly headers: readonly ReceivedHeader[];
  /** When it was produced, in ms since the epoch. */
  readonly producedAt: number;
}

/**
 * A message that is too large to pass on, or an unreadable range: from `offset` to `lastOffset`,
 * inclusive. The parking activity reads it from Kafka.
 */
export interface RefusedOffsets extends Coordinates, Refusal {
  readonly lastOffset: number;
}

/** A message as read from Kafka. */
export interface RawMessage {
  readonly key: Buffer | null;
  readonly headers: readonly RawHeader[];
  /** Set by its producer: any number. */
  readonly timestamp: number;
}

/** A message in the form in which it is parked. */
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

/** When a message was produced, in ms since the epoch; 0 where its timestamp cannot be stored. */
export function producedAt({ timestamp }: Pick<RawMessage, 'timestamp'>): number {
  return timestamp >= 0 && timestamp <= latestTime ? timestamp : 0;
}

const latestTime = Date.UTC(9999, 11, 31);

// An invalid message may still claim an event ID.
function claimedEventId(headers: RefusedMessage['headers']): string | undefined {
  const claimed = readHeader(headers, 'ce_id');
  return claimed !== undefined && /^[\x21-\x7e]{1,128}$/.test(claimed) ? claimed : undefined;
}

/**
 * The first and last offset of a batch in each partition, by `topic/partition`: the memo `offsets`
 * of the batch's workflow, in which the delivery audit looks for a message.
 */
export type BatchOffsets = Readonly<Record<string, readonly [first: number, last: number]>>;

/** Offsets that Kafka deleted before the consumer group had read them. */
export interface VanishedOffsets {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  /** The last of them; absent where unknown. */
  readonly to?: number;
  /** Deleted by retention or on request before they were read; or the log was truncated or recreated. */
  readonly reason: 'RETENTION' | 'TOPIC_MADE_ANEW';
}

/** Encodes a header so that {@link decodeHeader} gives the same bytes again. */
export function encodeHeader({ name, value }: RawHeader): ReceivedHeader {
  const encodedName = encodeBytes(name);
  const named: HeaderName =
    'text' in encodedName
      ? { name: encodedName.text }
      : // For display: NUL cannot be stored as text, so its symbol is.
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

/** The value of a header as text; the last one of a repeated name. */
export function readHeader(headers: readonly ReceivedHeader[], name: string): string | undefined {
  const header = headers.findLast((each) => each.name === name && each.nameBase64 === undefined);
  if (header === undefined || 'value' in header) return undefined;
  return decodeBytes(header).toString('utf8');
}

/** Encodes bytes so that {@link decodeBytes} gives the same bytes again. */
export function encodeBytes(bytes: Uint8Array): EncodedBytes {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString('utf8');
  // Invalid UTF-8 does not round-trip, and PostgreSQL cannot store NUL as text.
  if (!text.includes('\0') && Buffer.from(text, 'utf8').equals(buffer)) return { text };
  return { base64: buffer.toString('base64') };
}

/** The bytes that {@link encodeBytes} encoded. */
export function decodeBytes(encoded: EncodedBytes): Buffer {
  return 'text' in encoded
    ? Buffer.from(encoded.text, 'utf8')
    : Buffer.from(encoded.base64, 'base64');
}
