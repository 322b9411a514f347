/** Arbitrary valid events of every type, made from its JSON Schema, for properties of all of them. */
import fc from 'fast-check';
import { createEvent, type Event } from '../events/envelope';
import { dataJsonSchema } from '../events/json-schemas';
import { isReservedEventId } from '../events/reserved-event-ids';
import { eventTypes, type EventData, type EventType } from '../events/schemas';

export { eventTypes };

/** IDs of events: opaque, none of them reserved. */
const eventIds = fc.stringMatching(/^[\x21-\x7e]{1,128}$/).filter((id) => !isReservedEventId(id));

/** Instants that the envelope can represent. */
export const times = fc.date({
  min: new Date('0001-01-01T00:00:00.000Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});

/** Text that PostgreSQL can store: any characters but NUL. */
const texts = fc.string({ unit: 'binary', maxLength: 50 }).map((text) => text.replaceAll('\0', ''));

/** Any valid data of a type: every value that its schema allows, and its optional fields at times. */
export function eventDataOf<T extends EventType>(type: T): fc.Arbitrary<EventData<T>> {
  return valuesOf(dataSchemaOf(type)) as fc.Arbitrary<EventData<T>>;
}

export function eventsOf(type: EventType): fc.Arbitrary<Event> {
  return fc
    .record({ id: eventIds, time: times, data: eventDataOf(type) })
    .map((made) => createEvent({ type, ...made }) as Event);
}

export const events: fc.Arbitrary<Event> = fc.oneof(...eventTypes.map(eventsOf));

/** The JSON Schema of a type's data. */
export function dataSchemaOf(type: EventType): DataSchema {
  return dataJsonSchema(type, 1) as unknown as DataSchema;
}

/** The parts of JSON Schema that event types use. */
export interface DataSchema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean';
  readonly properties?: Readonly<Record<string, DataSchema>>;
  readonly required?: readonly string[];
  readonly items?: DataSchema;
  readonly minItems?: number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
}

function valuesOf(schema: DataSchema): fc.Arbitrary<unknown> {
  switch (schema.type) {
    case 'object': {
      const { properties = {}, required = [] } = schema;
      const fields = Object.entries(properties).map(([name, field]) => [name, valuesOf(field)]);
      const model = Object.fromEntries(fields) as Record<string, fc.Arbitrary<unknown>>;
      return fc.record(model, { requiredKeys: [...required] });
    }
    case 'array':
      return fc.array(valuesOf(schema.items!), { minLength: schema.minItems ?? 0, maxLength: 5 });
    case 'string':
      return textsOf(schema);
    case 'integer':
      return fc.integer({
        min: schema.minimum ?? Number.MIN_SAFE_INTEGER,
        max: schema.maximum ?? Number.MAX_SAFE_INTEGER,
      });
    case 'boolean':
      return fc.boolean();
    default:
      throw new Error(`No arbitrary for ${JSON.stringify(schema)}: add one here.`);
  }
}

function textsOf({ enum: choices, pattern, minLength = 0 }: DataSchema): fc.Arbitrary<string> {
  if (choices !== undefined) return fc.constantFrom(...choices);
  if (pattern !== undefined) return fc.stringMatching(new RegExp(pattern));
  return texts.filter((text) => text.length >= minLength);
}
