/**
 * The schemas of events as JSON Schema, for programs that are not written in TypeScript. Unknown
 * fields are allowed: readers must ignore them.
 */
import { z } from 'zod';
import { envelopeSchema } from './envelope';
import { definitionOf, eventTypes, isEventType, type EventType } from './schemas';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** One version of the schema of a type's data. */
export interface SchemaVersion {
  readonly type: EventType;
  readonly version: number;
}

/** Every version of every type's schema that events may name. */
export const schemaVersions: readonly SchemaVersion[] = eventTypes.flatMap((type) =>
  Object.keys(definitionOf(type).versions).map((version) => ({ type, version: Number(version) })),
);

/** The path of a schema, as in the `dataschema` of events. */
export function schemaPath({ type, version }: SchemaVersion): string {
  return `/schemas/${type}/${version}`;
}

/**
 * The schema (JSON Schema 2020-12) of the `data` of events with `dataschema`
 * `/schemas/<type>/<version>`; undefined when there is none.
 */
export function dataJsonSchema(type: string, version: number): JsonSchema | undefined {
  if (!isEventType(type)) return undefined;
  const { versions, example } = definitionOf(type);
  const schema = versions[version];
  if (schema === undefined) return undefined;
  const rest = toJsonSchema(schema, 'draft-2020-12');
  const examples = [example];
  return { $schema: dialect, $id: schemaPath({ type, version }), title: type, ...rest, examples };
}

/**
 * The schema of a whole event, its envelope included, in AsyncAPI's dialect (a superset of JSON
 * Schema draft 7).
 */
export function eventJsonSchema(place: SchemaVersion): JsonSchema {
  const { type, version } = place;
  const { versions, topic, aggregate } = definitionOf(type);
  const schema = envelopeSchema.extend({
    type: z.literal(type),
    subject: envelopeSchema.shape.subject.describe(
      `equals data.${aggregate} and the message's key`,
    ),
    dataschema: z.literal(schemaPath(place)),
    data: versions[version] ?? z.never(),
  });
  return { title: type, description: `Topic: ${topic}.`, ...toJsonSchema(schema) };
}

/** The JSON Schema of a schema's input, without `$schema`. */
export function toJsonSchema(
  schema: z.ZodType,
  target: 'draft-2020-12' | 'draft-7' = 'draft-7',
): JsonSchema {
  // As input: a tolerant reader allows unknown fields.
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target, io: 'input' });
  return rest;
}

const dialect = 'https://json-schema.org/draft/2020-12/schema';
