/** What is declared to no effect: most likely a line that was forgotten, and nothing else would tell. */
import type { Effects, Expression } from './effects';
import { sourcesOf, type Projection } from './projection';

/**
 * Columns of effects that no table reads, event types whose effects no table takes in, and sums that no
 * event raises. A sentence each, which names what to change; none where all is well.
 */
export function omissions(projections: readonly Projection[]): string[] {
  const relations = [...new Set(projections.map(({ effects }) => effects))];
  return [
    ...relations.flatMap((effects) =>
      unreadOf(
        effects,
        projections.filter((each) => each.effects === effects),
      ),
    ),
    ...projections.flatMap(sumsThatOnlyFall),
  ];
}

function unreadOf({ name, columns, sources }: Effects, tables: readonly Projection[]): string[] {
  const read = new Set(
    tables.flatMap((table) => [
      ...table.key,
      ...Object.values(table.columns).flatMap(({ of, by }) => [of, by]),
    ]),
  );
  const unread = Object.keys(columns).filter((column) => !read.has(column));
  const taken = new Set(tables.flatMap((table) => sourcesOf(table).map(({ type }) => type)));
  const ignored = sources.filter(({ type }) => !taken.has(type));
  return [
    ...unread.map(
      (column) =>
        `No table reads ${column} of ${name}: keep it in projections/tables/, or delete the column.`,
    ),
    ...ignored.map(
      ({ type }) =>
        `No table takes in what ${type} tells in ${name}: fill a key and a column that is kept, or say nothing.`,
    ),
  ];
}

/** A sum begins at 0: if it only falls, what it is reduced from was left out. */
function sumsThatOnlyFall(projection: Projection): string[] {
  const { table, effects, columns } = projection;
  const sources = sourcesOf(projection);
  return Object.entries(columns)
    .filter(([, { guard, of }]) => guard === 'event-id' && !sources.some(raises(of)))
    .map(
      ([name, { of }]) => `${table}.${name} only falls: no event raises ${of} of ${effects.name}.`,
    );
}

const raises =
  (column: string) =>
  ({ values }: Effects['sources'][number]): boolean => {
    const value = values[column];
    return value !== undefined && mayBePositive(value);
  };

function mayBePositive(value: Expression): boolean {
  switch (value.kind) {
    case 'field':
      return true;
    case 'number':
      return value.value > 0;
    case 'negative':
      return false;
    case 'either':
      return Math.max(value.yes, value.no) > 0;
  }
}
