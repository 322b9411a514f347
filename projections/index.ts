/** Every projection, in the order of their tables' names. */
import type { Projection } from './projection';
import * as tables from './tables';

export const projections: readonly Projection[] = Object.values(tables).toSorted((one, other) =>
  one.table < other.table ? -1 : 1,
);
