/** One file an event type: what is declared in it holds together. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { aggregateIdSchema } from '../../events/identifiers';
import { definitionOf, describeEvent, eventTypes, type EventType } from '../../events/schemas';
import * as registered from '../../events/types';

const folder = path.join(__dirname, '..', '..', 'events', 'types');

const fileOf = (type: EventType): string =>
  `${type.replace(/(?<=.)[A-Z]/g, (letter) => `-${letter}`).toLowerCase()}.ts`;

test('every file is registered, and named after its type', () => {
  const files = readdirSync(folder).filter((file) => file !== 'index.ts');
  expect(files.sort()).toEqual(eventTypes.map(fileOf).sort());
  expect(Object.keys(registered)).toHaveLength(eventTypes.length);
});

describe.each(eventTypes)('%s', (type) => {
  const { example, versions, aggregate, summary } = definitionOf(type);

  test('has a valid example with every field of its schema', () => {
    expect(versions[1].safeParse(example).error).toBeUndefined();
    expect(Object.keys(example).sort()).toEqual(Object.keys(versions[1].shape).sort());
  });

  test('names its aggregate by a field that every version requires, and that is an ID', () => {
    for (const { shape } of Object.values(versions))
      expect(shape[aggregate]).toBe(aggregateIdSchema);
  });

  test('is summed up in a sentence', () => {
    expect(summary).toMatch(/^[A-Z].* .*\.$/);
  });

  test('is described in one line', () => {
    expect(describeEvent({ type, data: example })).toMatch(/^[^\n]{1,200}$/);
  });
});

test('a type that this version does not know is described by nothing', () => {
  expect(describeEvent({ type: 'ProductExploded', data: {} })).toBe('');
});
