/**
 * The CloudEvents 1.0 envelope of every event (structured JSON mode;
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), and how events are created
 * and encoded as Kafka messages.
 */
import { z } from 'zod';
import { eventTimeLayout, readEventTime } from './event-time';
import { aggregateIdSchema, eventIdSchema } from './identifiers';
import { eventDefinitions, type EventData, type EventType } from './schemas';
import type { EventTopic } from './topics';

const noTime = 'must be an RFC 3339 time in the years 1 to 9999';

/**
 * The envelope alone: `data` is validated by the schema in `dataschema`. Extension attributes are
 * kept.
 */
export const envelopeSchema = z.looseObject({
  specversion: z.literal('1.0'),
  id: eventIdSchema,
  source: z.string().min(1),
  type: z.string().min(1),
  subject: aggregateIdSchema,
  time: z
    .string()
    .regex(eventTimeLayout, noTime)
    .refine((time) => readEventTime(time) !== undefined, noTime)
    .meta({ format: 'date-time' }),
  datacontenttype: z.literal('application/json').optional(),
  dataschema: z.string().min(1),
  data: z.looseObject({}),
});

/** An event of type `T`: the envelope with its data. */
export interface EventOf<T extends EventType> {
  readonly specversion: '1.0';
  /** Unique for ever: the ID of the workflow that handles the event, and its idempotency key. */
  readonly id: string;
  readonly source: string;
  readonly type: T;
  /** ID of the aggregate, equal to the Kafka key. */
  readonly subject: string;
  /** RFC 3339; parsed by `readEventTime` of `events/event-time.ts`. */
  readonly time: string;
  readonly datacontenttype: 'application/json';
  /** `/schemas/<type>/<version>`. */
  readonly dataschema: string;
  readonly data: EventData<T>;
}

/** Any event, discriminated by `type`. */
export type Event = { [T in EventType]: EventOf<T> }[EventType];

/** An event encoded as a Kafka message. */
export interface EventMessage {
  readonly topic: EventTopic;
  readonly key: string;
  /** The event as JSON text. */
  readonly value: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Input of a new event; the envelope's other fields follow from its type. */
export interface NewEvent<T extends EventType> {
  readonly id: string;
  readonly type: T;
  readonly time: Date;
  readonly data: EventData<T>;
}

/** The `source` of the shop's events. */
export const shopSource = '/commerce-api';

/** Wraps data in the envelope, with the current version of its schema. */
export function createEvent<T extends EventType>({
  id,
  type,
  time,
  data,
}: NewEvent<T>): EventOf<T> {
  return {
    specversion: '1.0',
    id,
    source: shopSource,
    type,
    subject: aggregateIdOf(type, data),
    time: time.toISOString(),
    datacontenttype: 'application/json',
    dataschema: `/schemas/${type}/1`,
    data,
  };
}

/**
 * Encodes an event for Kafka. The headers repeat the ID and type, so that tools can trace a message
 * with an invalid value.
 */
export function toMessage(event: Event): EventMessage {
  return {
    topic: eventDefinitions[event.type].topic,
    key: event.subject,
    value: JSON.stringify(event),
    headers: {
      'content-type': 'application/cloudevents+json',
      ce_id: event.id,
      ce_type: event.type,
    },
  };
}

export function aggregateIdOf(type: EventType, data: object): string {
  return (data as Record<string, string>)[eventDefinitions[type].aggregate] ?? '';
}
