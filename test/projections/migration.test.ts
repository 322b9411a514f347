/** The migration that is written from declarations, as a person reads it. */
import { hashOf, unreleasedTables } from '../../projections/definition';
import { eventTypes, type EventType } from '../../events/schemas';
import { projections } from '../../projections';
import { either, effects, nothing } from '../../projections/effects';
import { planMigration } from '../../projections/migration';
import { maximum, newest, projection, sum, type Projection } from '../../projections/projection';

const none = Object.fromEntries(eventTypes.map((type) => [type, nothing])) as {
  [T in EventType]: typeof nothing;
};

function likesOf(step: number) {
  return effects({
    name: 'user_effect',
    columns: {
      ...({ user_id: 'text', likes: 'bigint', liked: 'boolean' } as const),
      ...({ version: 'bigint', views: 'bigint' } as const),
    },
    on: {
      ...none,
      LikeChanged: ({ userId, liked, version }) => ({
        user_id: userId,
        likes: either(liked, step, -step),
        liked,
        version,
      }),
      ProductViewed: ({ userId }) => ({ user_id: userId, views: 1 }),
    },
  });
}

const activity = (more: Projection['columns'] = {}, step = 1): Projection =>
  projection({
    table: 'user_activity',
    about: 'Likes of each user',
    effects: likesOf(step),
    key: ['user_id'],
    columns: { likes: sum('likes'), last_event_at: maximum('occurred_at'), ...(more as object) },
  });

const first = planMigration([activity()], {}, 14)!;

test('of a new table makes it, with the rights on it, and marks it as not built', () => {
  expect(first.sql).toBe(`-- Likes of each user.
CREATE TABLE collector.user_activity (
  user_id text NOT NULL,
  likes bigint NOT NULL DEFAULT 0,
  last_event_at timestamptz,
  PRIMARY KEY (user_id)
) WITH (fillfactor = 70);
GRANT SELECT, INSERT, UPDATE ON collector.user_activity TO commerce_collector;
GRANT INSERT, UPDATE, DELETE ON collector.user_activity TO commerce_operator;
SELECT collector.declare_projection('user_activity', '${hashOf(activity())}', 14);
`);
});

test('of new columns adds these', () => {
  const changed = activity({
    views: sum('views'),
    liked: newest('liked', { by: 'version', initially: false }),
    version: maximum('version', 0),
  });
  expect(planMigration([changed], first.released, 15)?.sql).toBe(`-- Likes of each user.
ALTER TABLE collector.user_activity
  ADD COLUMN views bigint NOT NULL DEFAULT 0,
  ADD COLUMN liked boolean NOT NULL DEFAULT false,
  ADD COLUMN version bigint NOT NULL DEFAULT 0;
SELECT collector.declare_projection('user_activity', '${hashOf(changed)}', 15);
`);
});

test('of another formula changes no column, and marks the table as not built', () => {
  const changed = activity({}, 2);
  expect(planMigration([changed], first.released, 15)?.sql).toBe(`-- Likes of each user.
SELECT collector.declare_projection('user_activity', '${hashOf(changed)}', 15);
`);
});

test('of a table that gets its time of writing adds the column', () => {
  const stamped = { ...activity(), stamped: true };
  expect(unreleasedTables([stamped], first.released)).toEqual(['user_activity']);
  expect(planMigration([stamped], first.released, 15)?.sql).toContain(
    'ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now()',
  );
});

test('there is none while nothing changed', () => {
  expect(planMigration([activity()], first.released, 15)).toBeUndefined();
  expect(unreleasedTables([activity()], first.released)).toEqual([]);
});

test('a declaration without its migration is named', () => {
  expect(unreleasedTables([activity({}, 2)], first.released)).toEqual(['user_activity']);
  expect(unreleasedTables([], first.released)).toEqual(['user_activity']);
});

test.each(projections)('$table says what it keeps', ({ about }) => {
  expect(about).toMatch(/^[A-Z].* .*[^.]$/);
});

describe('refuses what only a person can decide:', () => {
  const { user_activity: before } = first.released;

  test.each<[string, Projection[], object, string]>([
    ['a table that goes', [], before!, 'delete its row in collector.projections'],
    [
      'a column that goes',
      [activity()],
      { ...before!, definition: '', columns: { ...before!.columns, views: 'bigint' } },
      'user_activity has no column views any more',
    ],
    [
      'a column of another type',
      [activity()],
      { ...before!, definition: '', columns: { ...before!.columns, likes: 'numeric' } },
      'user_activity.likes was numeric and is bigint NOT NULL DEFAULT 0',
    ],
    [
      'a column that begins with another value',
      [activity()],
      { ...before!, definition: '', columns: { ...before!.columns, likes: 'bigint' } },
      'user_activity.likes was bigint and is bigint NOT NULL DEFAULT 0',
    ],
    [
      'another key',
      [activity()],
      { ...before!, definition: '', key: ['user_id', 'day'] },
      'user_activity has another key than before',
    ],
  ])('%s', (_, declared, released, problem) => {
    expect(() => planMigration(declared, { user_activity: released as never }, 15)).toThrow(
      problem,
    );
  });
});

describe('a declaration is refused', () => {
  test('that keeps the newest by a version that it does not keep', () => {
    expect(() => activity({ liked: newest('liked', { by: 'version' }) })).toThrow(
      'user_activity keeps no maximum of version',
    );
  });

  test('whose effects tell a snapshot without its version', () => {
    const bare = effects({
      name: 'bare',
      columns: { user_id: 'text', liked: 'boolean', version: 'bigint' },
      on: {
        ...none,
        LikeChanged: ({ userId, liked }) => ({ user_id: userId, liked }),
        StockAdjusted: ({ productId, version }) => ({ user_id: productId, version }),
      },
    });
    const declare = () =>
      projection({
        table: 'bare',
        about: 'Nothing',
        effects: bare,
        key: ['user_id'],
        columns: { liked: newest('liked', { by: 'version' }), version: maximum('version', 0) },
      });
    expect(declare).toThrow('LikeChanged tells liked without version');
  });

  test('whose effects tell a version without the snapshot that is kept by it', () => {
    const twice = effects({
      name: 'twice',
      columns: { product_id: 'text', stock: 'bigint', liked: 'boolean', version: 'bigint' },
      on: {
        ...none,
        StockAdjusted: ({ productId, stock, version }) => ({
          product_id: productId,
          stock,
          version,
        }),
        LikeChanged: ({ productId, liked, version }) => ({ product_id: productId, liked, version }),
      },
    });
    const declare = () =>
      projection({
        table: 'twice',
        about: 'Nothing',
        effects: twice,
        key: ['product_id'],
        columns: { stock: newest('stock', { by: 'version' }), version: maximum('version') },
      });
    expect(declare).toThrow('LikeChanged tells version without stock');
  });

  test('whose column has no name that SQL takes', () => {
    expect(() => activity({ 'Last Like': sum('likes') })).toThrow('Last Like is no name');
    expect(() => activity({ order: sum('likes') })).toThrow('order is no name');
  });

  test('that has a column twice', () => {
    expect(() => activity({ user_id: sum('likes') })).toThrow('has the column user_id twice');
  });

  test('that adds up what is no amount', () => {
    expect(() => activity({ names: sum('user_id') })).toThrow('user_id is text');
    expect(() => activity({ ever_liked: maximum('liked') })).toThrow('liked is boolean');
  });
});
