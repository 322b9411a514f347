/** What the published schemas say is what messages are checked with. */
import Ajv2020 from 'ajv/dist/2020';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import fc from 'fast-check';
import { dataJsonSchema, eventJsonSchema } from '../../events/json-schemas';
import { eventDefinitions } from '../../events/schemas';
import { eventDataOf, eventsOf, eventTypes } from '../../testkit/event-arbitraries';
import { exampleData } from '../../testkit/example-events';

test.each(eventTypes)('of %s they accept exactly the data that the bridge accepts', (type) => {
  const accepts = new Ajv2020().compile(dataJsonSchema(type, 1) ?? false);
  const schema = eventDefinitions[type].versions[1];
  const field = fc.constantFrom(...Object.keys(exampleData[type]), 'unknown');
  const anything = fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 0, 0.5, 2 ** 53, '', [], 'a b'));
  fc.assert(
    fc.property(eventDataOf(type), field, anything, fc.boolean(), (data, name, value, broken) => {
      const candidate = broken ? { ...data, [name]: value } : data;
      expect(accepts(candidate)).toBe(schema.safeParse(candidate).success);
    }),
  );
});

test.each(eventTypes)('of a whole %s they accept every event of ours', (type) => {
  const ajv = new Ajv();
  addFormats(ajv);
  const accepts = ajv.compile(eventJsonSchema({ type, version: 1 }));
  fc.assert(fc.property(eventsOf(type), (event) => accepts(event)));
  expect(accepts({ ...exampleData[type] })).toBe(false);
});

test.each([
  ['StockAdjusted', 2],
  ['StockAdjusted', 0],
  ['Unheard', 1],
  ['toString', 1],
])('there is none for %s %i', (type, version) => {
  expect(dataJsonSchema(type, version)).toBeUndefined();
});
