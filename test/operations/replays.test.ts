import { joinAdjacent } from '../../operations/replays';

const at = (topic: string, partition: number, from: number, to = from) => ({
  topic,
  partition,
  from,
  to,
});

test('offsets without a gap become one range, and no two partitions do', () => {
  const places = [at('a', 0, 1), at('a', 0, 2), at('a', 0, 4), at('a', 1, 5), at('b', 1, 6)];

  expect(joinAdjacent(places)).toEqual([
    at('a', 0, 1, 2),
    at('a', 0, 4),
    at('a', 1, 5),
    at('b', 1, 6),
  ]);
});

test('an offset that is there twice is in one range', () => {
  expect(joinAdjacent([at('a', 0, 1, 3), at('a', 0, 2), at('a', 0, 3)])).toEqual([
    at('a', 0, 1, 3),
  ]);
});
