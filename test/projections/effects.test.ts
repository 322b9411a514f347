/** What a declaration of effects can be made of, and what is refused. */
import { z } from 'zod';
import { definitionOf, eventTypes, type EventType } from '../../events/schemas';
import { each, effects, negative, nothing, when, type Fields } from '../../projections/effects';
import { isCertain } from '../../projections/projection';

const none = Object.fromEntries(eventTypes.map((type) => [type, nothing])) as {
  [T in EventType]: typeof nothing;
};

/** What a declaration takes of an event that has these schemas. */
function take<Shape extends z.ZodRawShape>(
  versions: Readonly<Record<number, z.ZodObject<Shape>>>,
  read: (fields: Fields<z.output<z.ZodObject<Shape>>>) => unknown,
): unknown {
  const replaced = jest.replaceProperty(
    definitionOf('ProductViewed'),
    'versions',
    versions as never,
  );
  try {
    let taken: unknown;
    effects({
      name: 'taken',
      columns: {},
      on: {
        ...none,
        ProductViewed: (fields) => {
          taken = read(fields as never);
          return undefined;
        },
      },
    });
    return taken;
  } finally {
    replaced.restore();
  }
}

test.each([
  ['a whole number', z.int(), 'whole-number'],
  ['a boolean', z.boolean(), 'boolean'],
  ['text', z.string().min(1), 'text'],
  ['text of a format', z.uuid(), 'text'],
  ['an enum', z.enum(['yes', 'no']), 'text'],
])('%s is read as it is', (_, schema, reads) => {
  expect(take({ 1: z.object({ field: schema }) }, ({ field }) => field)).toMatchObject({ reads });
});

test.each([
  ['a fraction', z.number()],
  ['a null', z.string().nullable()],
  ['a union', z.union([z.string(), z.boolean()])],
  ['an object', z.object({ inner: z.string() })],
  ['a list of text', z.array(z.string())],
])('%s is refused where a declaration takes it, instead of telling nothing', (_, schema) => {
  const versions = { 1: z.object({ field: schema, other: z.boolean() }) };
  expect(() => take(versions, ({ field }) => field)).toThrow(
    'No effect can be made of the field field of ProductViewed',
  );
  expect(take(versions, ({ other }) => other)).toMatchObject({ reads: 'boolean' });
});

test('a list within the items of a list is refused', () => {
  const items = z.array(z.object({ inner: z.array(z.object({ count: z.int() })) }));
  const read = () =>
    take({ 1: z.object({ items }) }, ({ items: list }) => each(list, ({ inner }) => inner));
  expect(read).toThrow('No effect can be made of the field inner');
});

test('a field about which the versions disagree is refused', () => {
  const other = z.object({ field: z.int().optional() }) as never;
  const versions = { 1: z.object({ field: z.int() }), 2: other };
  expect(() => take(versions, ({ field }) => field)).toThrow(
    'The versions of ProductViewed disagree about its field field',
  );
});

test('rows have one condition', () => {
  const versions = { 1: z.object({ one: z.boolean(), other: z.boolean() }) };
  expect(() => take(versions, ({ one, other }) => when(one, when(other, { row: {} })))).toThrow(
    'Rows have one condition',
  );
});

test('the negative of what may be missing may be missing', () => {
  const field = {
    ...({ kind: 'field', of: 'data', name: 'amount', reads: 'whole-number' } as const),
    optional: true,
  };
  expect(isCertain(negative(field))).toBe(false);
  expect(isCertain(negative({ ...field, optional: false }))).toBe(true);
});
