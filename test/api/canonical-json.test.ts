/** One spelling for equal values. */
import fc from 'fast-check';
import { canonicalJson } from '../../api/idempotency/canonical-json';

test('the order of fields does not matter, at any depth', () => {
  const one = { b: [{ y: 1, x: 2 }], a: null };
  const other = { a: null, b: [{ x: 2, y: 1 }] };
  expect(canonicalJson(one)).toBe(canonicalJson(other));
});

test('the order of items does', () => {
  expect(canonicalJson([1, 2])).not.toBe(canonicalJson([2, 1]));
});

test('nothing at all is spelled too', () => {
  expect(canonicalJson(undefined)).toBe('null');
});

test('it is JSON for the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value);
      expect(JSON.parse(canonicalJson(JSON.parse(text)))).toEqual(JSON.parse(text));
    }),
  );
});
