import fc from 'fast-check';
import { createCacheActivities, productsToEvict } from '../../activities/collector/cache-eviction';
import type { Event } from '../../events/envelope';
import type { EventType } from '../../events/schemas';
import { exampleEvent } from '../../testkit/example-events';
import { eventsOf, eventTypes } from '../../testkit/event-arbitraries';

function event(type: EventType, data: Record<string, unknown> = {}, subject?: string): Event {
  const overrides = subject === undefined ? {} : { subject };
  return exampleEvent(type, overrides, data) as unknown as Event;
}

describe('a change of stock changes what is shown', () => {
  test.each([
    ['sold out', 1, 0, true],
    ['sold out at once', 500, 0, true],
    ['back in stock', 0, 1, true],
    ['fewer', 3, 2, false],
    ['more', 3, 10, false],
    ['the last one is left', 2, 1, false],
    ['still sold out', 0, 0, false],
    ['corrected by nothing', 7, 7, false],
  ])('%s, from %d to %d: %s', (_, previousStock, stock, changes) => {
    const delta = stock - previousStock;
    const events = [event('StockAdjusted', { previousStock, stock, delta })];
    expect(productsToEvict(events)).toEqual(changes ? ['product-1'] : []);
  });
});

describe('a like changes what is shown', () => {
  test.each([
    ['the first like', true, 1, true],
    ['the last unlike', false, 0, true],
    ['an exact count, up', true, 999, true],
    ['an exact count, down', false, 998, true],
    ['from exact to rounded', true, 1_000, true],
    ['from rounded to exact', false, 999, true],
    ['within a hundred, up', true, 1_001, false],
    ['within a hundred, down', false, 1_000, false],
    ['into the next hundred', true, 1_100, true],
    ['to the end of a hundred', true, 1_099, false],
    ['out of a hundred', false, 1_099, true],
    ['far up', true, 123_456, false],
    ['far up, into the next hundred', true, 123_500, true],
    ['a like that says that there are none', true, 0, false],
  ])('%s: liked %s, then %d: %s', (_, liked, likeCount, changes) => {
    const events = [event('LikeChanged', { liked, likeCount })];
    expect(productsToEvict(events)).toEqual(changes ? ['product-1'] : []);
  });
});

test.each([
  'ProductRegistered',
  'ProductViewed',
  'OrderPlaced',
  'OrderConfirmed',
  'OrderCancelled',
  'PaymentCompleted',
  'PaymentFailed',
] as const)('%s changes nothing that is shown', (type) => {
  expect(productsToEvict([event(type)])).toEqual([]);
});

test.each(eventTypes)('%s evicts no product but those that it names', (type) => {
  fc.assert(
    fc.property(eventsOf(type), (any) => {
      for (const productId of productsToEvict([any])) {
        expect(JSON.stringify(any.data)).toContain(JSON.stringify(productId));
      }
    }),
  );
});

test('several events evict each product that they changed once, and no other', async () => {
  const soldOut = { previousStock: 1, stock: 0, delta: -1 };
  const events = [
    event('StockAdjusted', { ...soldOut, productId: 'a' }, 'a'),
    event('StockAdjusted', { previousStock: 9, stock: 8, delta: -1, productId: 'b' }, 'b'),
    event('LikeChanged', { liked: true, likeCount: 1, productId: 'c' }, 'c'),
    event('LikeChanged', { liked: false, likeCount: 0, productId: 'a' }, 'a'),
    event('OrderConfirmed'),
  ];
  expect(productsToEvict(events)).toEqual(['a', 'c']);
  const evict = jest.fn(async (_: readonly string[]) => undefined);
  const cache = { evict, lookUp: jest.fn(), fill: jest.fn() };
  const { evictCache } = createCacheActivities({ cache });
  await evictCache(events.map((each) => ({ value: JSON.stringify(each) })));
  expect(evict.mock.calls).toEqual([[['a', 'c']]]);
});
