/** One valid event of each type, as another producer would write it. */
import { definitionOf, eventTypes, type EventType } from '../events/schemas';

/** Valid data of each type, with every known field; tests break it on purpose. */
export const exampleData = Object.fromEntries(
  eventTypes.map((type) => [type, definitionOf(type).example]),
) as Readonly<Record<EventType, Readonly<Record<string, unknown>>>>;

/**
 * The JSON of an event of `type`; fields of the envelope and the data can be overridden, also with
 * `undefined`.
 */
export function exampleEvent(
  type: EventType,
  overrides: Readonly<Record<string, unknown>> = {},
  dataOverrides: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    specversion: '1.0',
    id: 'e5c1cd4a-6c8e-4be5-9b0a-4a9d0e9d3a11',
    source: '/somebody-else',
    type,
    subject: exampleData[type][definitionOf(type).aggregate],
    time: '2026-01-01T00:00:00.000Z',
    datacontenttype: 'application/json',
    dataschema: `/schemas/${type}/1`,
    data: { ...exampleData[type], ...dataOverrides },
    ...overrides,
  };
}

/** A message with some JSON on the topic of `type`. */
export function exampleMessage(type: EventType, json: unknown) {
  return {
    topic: definitionOf(type).topic as string,
    key: Buffer.from(String(exampleData[type][definitionOf(type).aggregate])) as Buffer | null,
    value: Buffer.from(JSON.stringify(json)) as Buffer | null,
  };
}
