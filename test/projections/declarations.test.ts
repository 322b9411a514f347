/** A line that is left out of a declaration is found, and the message names its place. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { eventTypes, type EventType } from '../../events/schemas';
import { projections } from '../../projections';
import { effects, either, negative, nothing } from '../../projections/effects';
import { omissions } from '../../projections/omissions';
import { maximum, projection, sum, type Projection } from '../../projections/projection';

const none = Object.fromEntries(eventTypes.map((type) => [type, nothing])) as {
  [T in EventType]: typeof nothing;
};

const columns = { user_id: 'text', product_id: 'text', likes: 'bigint', views: 'bigint' } as const;

const whole = effects({
  name: 'user_effect',
  columns,
  on: {
    ...none,
    LikeChanged: ({ userId, liked }) => ({ user_id: userId, likes: either(liked, 1, -1) }),
    ProductViewed: ({ userId, productId }) => ({
      user_id: userId,
      product_id: productId,
      views: 1,
    }),
  },
});

const tableOf = (
  declared: Pick<Projection, 'key' | 'columns'>,
  of: Parameters<typeof projection>[0]['effects'] = whole,
): Projection =>
  projection({ table: 'user_activity', about: 'Nothing much', effects: of, ...declared });

const key = ['user_id'];

describe('effects are refused', () => {
  test('with a column that no event fills', () => {
    const declare = () => effects({ name: 'user_effect', columns, on: none });
    expect(declare).toThrow('No event fills user_id of user_effect');
  });

  test('with a row that fills a column that is not declared', () => {
    const declare = () =>
      effects({
        name: 'user_effect',
        columns: { user_id: 'text' },
        on: { ...none, ProductViewed: ({ userId }) => ({ user_id: userId, views: 1 }) },
      });
    expect(declare).toThrow('ProductViewed fills views, which is no column of user_effect');
  });
});

test('a table is refused whose column no event reaches, since none fills its key', () => {
  const declare = () =>
    tableOf({ key: ['product_id'], columns: { views: sum('views'), likes: sum('likes') } });
  expect(declare).toThrow('user_activity.likes never changes: no event of user_effect');
});

describe('what is declared to no effect is named:', () => {
  test('nothing, where all is read', () => {
    const table = tableOf({ key, columns: { likes: sum('likes'), views: sum('views') } });
    const views = tableOf({ key: [...key, 'product_id'], columns: { views: sum('views') } });
    expect(omissions([table, views])).toEqual([]);
  });

  test('a column of effects that no table reads', () => {
    const table = tableOf({ key: ['user_id', 'product_id'], columns: { views: sum('views') } });
    const likes = tableOf({ key, columns: { last_event_at: maximum('occurred_at') } });
    expect(omissions([table, likes])).toEqual([
      expect.stringContaining('No table reads likes of user_effect'),
    ]);
  });

  test('an event type whose effects no table takes in', () => {
    const table = tableOf({ key: ['user_id', 'product_id'], columns: { views: sum('views') } });
    expect(omissions([table])).toContainEqual(
      expect.stringContaining('No table takes in what LikeChanged tells in user_effect'),
    );
  });

  test.each([
    ['a number below zero', -1],
    ['the negative of a field', 'negative'],
  ])('a sum that only falls, by %s', (_, change) => {
    const falling = effects({
      name: 'falling',
      columns: { user_id: 'text', orders: 'bigint' },
      on: {
        ...none,
        OrderConfirmed: ({ userId, totalAmount }) => ({
          user_id: userId,
          orders: typeof change === 'number' ? change : negative(totalAmount),
        }),
      },
    });
    const table = tableOf({ key, columns: { order_count: sum('orders') } }, falling);
    expect(omissions([table])).toEqual([
      'user_activity.order_count only falls: no event raises orders of falling.',
    ]);
  });
});

test('nothing of the declarations of this project is without effect', () => {
  expect(omissions(projections)).toEqual([]);
});

test('every file of effects and every table is read', () => {
  const filesIn = (folder: string): number =>
    readdirSync(path.join(__dirname, '..', '..', 'projections', folder)).filter(
      (file) => file !== 'index.ts',
    ).length;
  expect(projections).toHaveLength(filesIn('tables'));
  expect(new Set(projections.map(({ effects: of }) => of)).size).toBe(filesIn('effects'));
});
