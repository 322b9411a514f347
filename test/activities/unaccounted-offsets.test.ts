import fc from 'fast-check';
import { rangesOf } from '../../activities/collector/unaccounted-offsets';

test('offsets that are near one another are one range', () => {
  expect(rangesOf([3, 4, 5, 102, 202, 1_000])).toEqual([
    { first: 3, last: 102 },
    { first: 202, last: 202 },
    { first: 1_000, last: 1_000 },
  ]);
});

test('any offsets are in their ranges, which begin and end with one of them, and are far apart', () => {
  const ascending = fc
    .uniqueArray(fc.nat({ max: 3_000 }))
    .map((offsets) => offsets.toSorted((a, b) => a - b));
  fc.assert(
    fc.property(ascending, (offsets) => {
      const ranges = rangesOf(offsets);
      for (const offset of offsets) {
        expect(ranges.filter(({ first, last }) => first <= offset && offset <= last)).toHaveLength(
          1,
        );
      }
      for (const [index, { first, last }] of ranges.entries()) {
        expect(offsets).toContain(first);
        expect(offsets).toContain(last);
        const before = ranges[index - 1];
        if (before !== undefined) expect(first - before.last).toBeGreaterThanOrEqual(100);
      }
    }),
  );
});
