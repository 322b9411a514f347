/** Every event type by its name, and the types of their data, inferred from the schemas. */
import type { z } from 'zod';
import type { EventDefinition } from './definition';
import * as types from './types';

type Definition = (typeof types)[keyof typeof types];
type DefinitionOf<T extends EventType> = Extract<Definition, { readonly type: T }>;

/** The name of an event type. */
export type EventType = Definition['type'];

/** The data of an event of type `T`, in the version that the shop publishes. */
export type EventData<T extends EventType> = z.infer<DefinitionOf<T>['versions'][1]>;

/** Every event type. The bridge accepts these and parks everything else. */
export const eventDefinitions = Object.fromEntries(
  Object.values(types).map((definition) => [definition.type, definition]),
) as { readonly [T in EventType]: DefinitionOf<T> };

/** Their names, in the order of the alphabet. */
export const eventTypes: readonly EventType[] = Object.values(types)
  .map(({ type }) => type)
  .sort();

/** Whether a name is an event type's. */
export function isEventType(name: string): name is EventType {
  return Object.hasOwn(eventDefinitions, name);
}

/** The definition of an event type, whatever its data: for code that treats all types alike. */
export function definitionOf(type: EventType): EventDefinition {
  return eventDefinitions[type];
}

/**
 * What a logged event says beside its type, in a line, for people; empty for a type that this version
 * does not know.
 */
export function describeEvent({
  type,
  data,
}: {
  readonly type: string;
  readonly data: object;
}): string {
  return isEventType(type) ? definitionOf(type).describe(data as Record<string, unknown>) : '';
}
