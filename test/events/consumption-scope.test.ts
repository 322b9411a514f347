import { describeScope, isCovered } from '../../events/consumption-scope';

const everything = { topic: null, partition: null };
const orders = { topic: 'order-events', partition: null };
const third = { topic: 'order-events', partition: 3 };

test.each([
  ['nothing', [], []],
  ['everything', [everything], ['order-events/3', 'order-events/4', 'catalog-events/3']],
  ['a topic', [orders], ['order-events/3', 'order-events/4']],
  ['a partition', [third], ['order-events/3']],
  ['a partition and its topic', [third, orders], ['order-events/3', 'order-events/4']],
])('%s covers its own partitions, and no others', (_what, scopes, expected) => {
  const places = [
    { topic: 'order-events', partition: 3 },
    { topic: 'order-events', partition: 4 },
    { topic: 'catalog-events', partition: 3 },
  ];
  expect(places.filter((place) => isCovered(scopes, place)).map(describeScope)).toEqual(expected);
});

test('a scope is told in words', () => {
  expect([everything, orders, third].map(describeScope)).toEqual([
    'all of it',
    'order-events',
    'order-events/3',
  ]);
});
