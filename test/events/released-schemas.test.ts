import { dataJsonSchema, schemaVersions } from '../../events/json-schemas';
import { releasedSchemas } from '../../scaffold/released-schemas';
import { incompatibilities, type Schema } from '../../scaffold/schema-compatibility';

const released = releasedSchemas();

test.each(released.map(({ type, version, schema }) => [type, version, schema] as const))(
  'readers and writers of %s %i are not broken',
  (type, version, schema) => {
    expect(incompatibilities(schema, dataJsonSchema(type, version) ?? {})).toEqual([]);
  },
);

test.each(schemaVersions.map(({ type, version }) => [type, version] as const))(
  '%s %i is released as it is (else: npm run generate)',
  (type, version) => {
    const file = released.find((each) => each.type === type && each.version === version);
    expect(file?.schema).toEqual(dataJsonSchema(type, version));
  },
);

describe('what breaks others is found', () => {
  const schema = {
    type: 'object',
    properties: {
      productId: { type: 'string', pattern: '^p$' },
      reason: { type: 'string', enum: ['restock', 'order'] },
      stock: { type: 'integer', minimum: 0 },
      items: {
        type: 'array',
        items: { type: 'object', properties: { price: { type: 'integer' } } },
      },
      note: { type: 'string' },
    },
    required: ['productId', 'stock'],
  };

  const withField = (name: string, field: Schema | undefined): Schema => ({
    ...schema,
    properties: { ...schema.properties, [name]: field },
  });

  test.each<[string, Schema, string[]]>([
    ['a field that is gone', withField('note', undefined), ['data.note: is not there any more']],
    [
      'a new field that must be sent',
      { ...withField('color', { type: 'string' }), required: ['productId', 'stock', 'color'] },
      ['data.color: is required now'],
    ],
    [
      'a field that must be sent from now on',
      { ...schema, required: ['productId', 'stock', 'note'] },
      ['data.note: is required now'],
    ],
    [
      'a field on which readers relied',
      { ...schema, required: ['productId'] },
      ['data.stock: may be missing now'],
    ],
    [
      'another type',
      withField('note', { type: 'integer' }),
      ['data.note: type was "string" and is "integer"'],
    ],
    [
      'a value that is not allowed any more',
      withField('reason', { type: 'string', enum: ['restock'] }),
      ['data.reason: enum was ["restock","order"] and is ["restock"]'],
    ],
    [
      'a value that readers do not know',
      withField('reason', { type: 'string', enum: ['restock', 'order', 'theft'] }),
      ['data.reason: enum was ["restock","order"] and is ["restock","order","theft"]'],
    ],
    [
      'a narrower range',
      withField('stock', { type: 'integer', minimum: 1 }),
      ['data.stock: minimum was 0 and is 1'],
    ],
    [
      'a new demand',
      withField('note', { type: 'string', maxLength: 3 }),
      ['data.note: maxLength was undefined and is 3'],
    ],
    [
      'other items',
      withField('items', { type: 'array', items: { type: 'object', properties: {} } }),
      ['data.items[].price: is not there any more'],
    ],
    ['no fields at all', {}, expect.arrayContaining(['data.stock: is not there any more'])],
  ])('%s', (_, changed, found) => {
    expect(incompatibilities(schema, changed)).toEqual(found);
  });

  test('a new field that may be missing breaks nobody, nor does a better description', () => {
    const changed = withField('color', { type: 'string' });
    expect(incompatibilities(schema, { ...changed, description: 'clearer' })).toEqual([]);
  });
});
