/**
 * Parses Kafka messages to events. Anything but a valid event on its topic under its key is rejected
 * with an error that names the field.
 */
import { type z } from 'zod';
import { aggregateIdOf, envelopeSchema, type Event } from './envelope';
import { InvalidEventError } from './errors';
import { isReservedEventId } from './reserved-event-ids';
import { readJson } from './json';
import { definitionOf, isEventType, type EventType } from './schemas';
import { maxEventBytes } from './topics';

/** The parts of a Kafka message that are validated. */
export interface RawMessage {
  readonly topic: string;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}

/**
 * The event of a message, with all of its fields, known or not.
 *
 * @throws InvalidEventError with a code for each kind of invalid message
 */
export function parseMessage(message: RawMessage): Event {
  const event = parseEvent(message.value);
  rejectWrongPlace(event, message);
  return event;
}

/**
 * The event in a message's value, whatever its topic and key.
 *
 * @throws InvalidEventError
 */
export function parseEvent(value: Uint8Array | null): Event {
  if (value === null) throw new InvalidEventError('NULL_VALUE', 'The message has no value.');
  if (value.byteLength > maxEventBytes) {
    throw new InvalidEventError(
      'TOO_LARGE',
      `The value has ${value.byteLength} bytes; an event has at most ${maxEventBytes}.`,
    );
  }
  const envelope = parseEnvelope(readJson(value));
  const type = knownType(envelope.type);
  const schema = schemaOf(type, envelope.dataschema);
  const checked = schema.safeParse(envelope.data);
  if (!checked.success) throw refusal('INVALID_DATA', checked.error, ['data']);
  if (envelope.subject !== aggregateIdOf(type, envelope.data)) {
    throw new InvalidEventError(
      'INVALID_DATA',
      `Field subject must equal data.${definitionOf(type).aggregate}.`,
      'subject',
    );
  }
  // Validation only: the event is returned unchanged, with its unknown fields.
  return envelope as unknown as Event;
}

function parseEnvelope(json: unknown): z.infer<typeof envelopeSchema> {
  const checked = envelopeSchema.safeParse(json);
  if (!checked.success) throw refusal('INVALID_ENVELOPE', checked.error, []);
  if (isReservedEventId(checked.data.id)) {
    throw new InvalidEventError(
      'RESERVED_ID',
      `Field id begins with a prefix that is reserved for workflows of other kinds.`,
      'id',
    );
  }
  return checked.data;
}

function knownType(name: string): EventType {
  if (isEventType(name)) return name;
  throw new InvalidEventError('UNKNOWN_TYPE', `Field type is not a known event type.`, 'type');
}

function schemaOf(type: EventType, dataschema: string): z.ZodObject {
  const versions: Readonly<Record<string, z.ZodObject>> = definitionOf(type).versions;
  const prefix = `/schemas/${type}/`;
  const version = dataschema.startsWith(prefix) ? dataschema.slice(prefix.length) : '';
  const schema = Object.hasOwn(versions, version) ? versions[version] : undefined;
  if (schema !== undefined) return schema;
  const known = Object.keys(versions).map((each) => prefix + each);
  throw new InvalidEventError(
    'UNKNOWN_SCHEMA_VERSION',
    `Field dataschema is none of the known versions: ${known.join(', ')}.`,
    'dataschema',
  );
}

function rejectWrongPlace(event: Event, { topic, key }: RawMessage): void {
  const { topic: expected } = definitionOf(event.type);
  if (topic !== expected) {
    throw new InvalidEventError('WRONG_TOPIC', `${event.type} belongs on the topic ${expected}.`);
  }
  if (key === null) throw new InvalidEventError('MISSING_KEY', 'The message has no key.');
  if (Buffer.compare(key, Buffer.from(event.subject)) !== 0) {
    throw new InvalidEventError('KEY_MISMATCH', "The message's key does not equal field subject.");
  }
}

function refusal(
  code: 'INVALID_ENVELOPE' | 'INVALID_DATA',
  error: z.ZodError,
  prefix: readonly string[],
): InvalidEventError {
  const issue = error.issues[0];
  const field = [...prefix, ...(issue?.path ?? [])].join('.');
  const where = field === '' ? 'The value' : `Field ${field}`;
  return new InvalidEventError(code, `${where}: ${issue?.message ?? 'is invalid'}.`, field, {
    cause: error,
  });
}
