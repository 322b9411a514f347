/** The statements about projections, made from their declarations. */
import type { Effects, Expression, Source } from './effects';
import { isCertain, versionColumn, type Column, type Projection } from './projection';

/** What else the live update records of the events that it marks. */
export interface Recording {
  /**
   * A common table expression, with the comma before it, that reads `event` (`event_id`, `type`,
   * `occurred_at`, `data`); empty for none.
   */
  readonly expression: string;
  /** A column of the result, for each event. */
  readonly column: string;
}

/**
 * The statement of live updates: marks events as handled and applies them to every projection,
 * atomically. Parameters: the events' IDs, the workflow that handles them, and the newest migration
 * that this version knows. Returns a row for each event that it marked: its ID, type, and age in
 * seconds; or, if the database refuses this version (`refused`), a single row that says so.
 *
 * The log is read one event at a time (LATERAL … OFFSET 0 prevents other joins): otherwise PostgreSQL
 * scans the whole log for a batch until the log is large. The SQL comment identifies the statement in
 * pg_stat_activity and in the fault suite.
 */
export function liveUpdate(projections: readonly Projection[], recording: Recording): string {
  return `
  /* metrics-update */ WITH fence AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM collector.projections WHERE writers_from > $3::integer) AS refused
  ),
  logged AS MATERIALIZED (
    SELECT found.* FROM (SELECT DISTINCT unnest($1::text[]) AS event_id) AS given
    CROSS JOIN LATERAL (
      SELECT event_id, type, occurred_at, payload -> 'data' AS data FROM collector.event_log
      WHERE event_log.event_id = given.event_id OFFSET 0
    ) AS found
  ),
  handled AS (
    INSERT INTO collector.event_handled (event_id, workflow_id)
    SELECT event_id, $2 FROM logged WHERE NOT (SELECT refused FROM fence) ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
  ),
  event AS MATERIALIZED (
    SELECT event_id, type, occurred_at, data FROM handled JOIN logged USING (event_id)
  ),${addUp(projections, 'collector')}${recording.expression}
  SELECT refused, event_id AS "eventId", type,
    extract(epoch FROM clock_timestamp() - occurred_at)::float8 AS seconds, ${recording.column}
  FROM fence LEFT JOIN event ON true`;
}

/**
 * Adds the events at some positions (parameters: from, exclusive, and to, inclusive) of
 * `pg_temp.counted` up into temporary tables of the projections' names.
 */
export function rebuildStep(projections: readonly Projection[]): string {
  return `
  WITH event AS MATERIALIZED (
    SELECT type, occurred_at, payload -> 'data' AS data
    FROM pg_temp.counted JOIN collector.event_log USING (event_id)
    WHERE position > $1 AND position <= $2
  ),${addUp(projections, 'pg_temp')}
  SELECT`;
}

/**
 * Finds where a table differs from its handled events: from all of them at once, and so in another way
 * than live updates. Of two snapshots with one version, which only a faulty producer sends, either is
 * right. Returns the key, what is expected, and what was found.
 */
export function differences(projection: Projection): string {
  const { table, effects, columns } = projection;
  const key = projection.key.join(', ');
  const entries = Object.entries(columns);
  const versions = [...new Set(entries.flatMap(([, { by }]) => by ?? []))];
  const ranks = versions.map((by) => `, max(${by}) OVER (PARTITION BY ${key}) AS newest_${by}`);
  const expected = entries.map(([name, column]) => `${ofAll(column)} AS ${name}`);
  const wrong = entries.map(([name, { guard }]) =>
    guard === 'version'
      ? // Other than ANY, this finds a null: the newest event may have left its field out.
        `CASE WHEN expected.${name} IS NULL THEN stored.${name} IS NOT NULL
            ELSE array_position(expected.${name}, stored.${name}) IS NULL END`
      : `expected.${name} IS DISTINCT FROM stored.${name}`,
  );
  return `
      WITH event AS MATERIALIZED (
        SELECT type, occurred_at, payload -> 'data' AS data FROM collector.event_log
        WHERE EXISTS (
          SELECT FROM collector.event_handled WHERE event_handled.event_id = event_log.event_id)
      ),${rowsOfEffects(effects)},
      ranked AS (
        SELECT *${ranks.join('')} FROM ${effects.name}${concerned(projection)}
      ), expected AS (
        SELECT ${key}, ${expected.join(', ')}
        FROM ranked GROUP BY ${key}
      )
      SELECT ${key}, to_jsonb(expected) AS expected, to_jsonb(stored) AS found
      FROM expected FULL JOIN collector.${table} AS stored USING (${key})
      WHERE ${wrong.join('\n        OR ')}`;
}

/**
 * Tells what one event adds to each table. Parameters: its type, its time and its data. Returns a row for
 * each row of a table that it touches, in their order: `table`, `key`, and `told`, the values by column;
 * columns of which it tells nothing are left out. Values are text, as a number may be beyond JavaScript's.
 */
export function told(projections: readonly Projection[]): string {
  const relations = new Set(projections.map(({ effects }) => effects));
  const textOf = (value: string): string => `to_jsonb(${value}) #>> '{}'`;
  const selects = projections.map((projection) => {
    const { table, key, columns, effects } = projection;
    const place = key.map((name) => `'${name}', ${textOf(name)}`);
    const values = Object.entries(columns).map(
      ([name, column]) => `'${name}', ${textOf(addedBy(column))}`,
    );
    return `
    SELECT '${table}' AS "table", jsonb_build_object(${place.join(', ')}) AS key,
      jsonb_strip_nulls(jsonb_build_object(${values.join(', ')})) AS told
    FROM ${effects.name}${concerned(projection)} GROUP BY ${key.join(', ')}`;
  });
  return `
  WITH event AS MATERIALIZED (
    SELECT $1::text AS type, $2::timestamptz AS occurred_at, $3::jsonb AS data
  ),${[...relations].map(rowsOfEffects).join(',')}
  SELECT * FROM (${selects.join('\n    UNION ALL')}
  ) AS touched ORDER BY "table", key`;
}

/** How many rows a table has, and the total of each of its sums. */
export function totals({ table, columns }: Projection): string {
  const sums = Object.entries(columns)
    .filter(([, { guard }]) => guard === 'event-id')
    .map(([name]) => `, coalesce(sum(${name}), 0) AS ${name}`);
  return `SELECT count(*) AS rows${sums.join('')} FROM collector.${table}`;
}

/**
 * Common table expressions that add the rows of `event` (type, occurred_at, data) up into the tables.
 * Goes after `WITH event AS (…)`. Live updates and the rebuild share it, so that they cannot disagree.
 *
 * Tables are taken in the order of their names and rows in that of their keys, so that two statements
 * with events or keys in common wait for each other instead of deadlocking.
 */
function addUp(projections: readonly Projection[], schema: 'collector' | 'pg_temp'): string {
  const inOrder = projections.toSorted((one, other) => (one.table < other.table ? -1 : 1));
  const relations = new Set(inOrder.map(({ effects }) => effects));
  return [
    ...[...relations].map(rowsOfEffects),
    ...inOrder.map((projection) => addUpInto(projection, schema)),
  ].join(',');
}

/** What the events do: a row for each thing that one touches. */
function rowsOfEffects({ name, columns, sources }: Effects): string {
  const lists = [...new Set(sources.map(({ list }) => list))];
  const selects = lists.map((list) => {
    const alike = sources.filter((source) => source.list === list);
    const values = Object.entries(columns).map(([column, type]) => {
      const value = byType(alike, ({ values: { [column]: told } }) => told && sqlOf(told));
      return `${value === undefined ? 'NULL' : `(${value})`}::${type} AS ${column}`;
    });
    return `
    SELECT occurred_at, (occurred_at AT TIME ZONE 'UTC')::date AS day,
      ${values.join(',\n      ')}
    FROM ${eventsOf(alike, list)}`;
  });
  return `
  ${name} AS MATERIALIZED (${selects.join('\n    UNION ALL')}
  )`;
}

function eventsOf(sources: readonly Source[], list: string | undefined): string {
  const condition = byType(
    sources,
    (source) => source.condition && sqlOf(source.condition),
    'true',
  );
  // Not joined by AND, which may be evaluated in any order: another event's field of a condition's name
  // need not be a boolean.
  const counts =
    condition === undefined
      ? isOneOf(sources)
      : `CASE WHEN ${isOneOf(sources)} THEN ${condition} END`;
  if (list === undefined) return `event WHERE ${counts}`;
  // Read only where it is a list by contract: another event may have a field of that name.
  return `event CROSS JOIN LATERAL
      jsonb_array_elements(CASE WHEN ${counts} THEN data -> '${list}' END) AS item`;
}

/** A CASE over the event types, or less where they agree; undefined where none tells anything. */
function byType(
  sources: readonly Source[],
  tell: (source: Source) => string | undefined,
  otherwise?: string,
): string | undefined {
  const told = sources.filter((source) => tell(source) !== undefined);
  const different = [...new Set(told.map(tell))];
  if (different.length === 0) return undefined;
  if (different.length === 1 && told.length === sources.length) return different[0];
  const branches = different.map(
    (value) => `WHEN ${isOneOf(told.filter((source) => tell(source) === value))} THEN ${value}`,
  );
  return `CASE ${branches.join(' ')}${otherwise === undefined ? '' : ` ELSE ${otherwise}`} END`;
}

const isOneOf = (sources: readonly Source[]): string =>
  `type IN (${sources.map(({ type }) => `'${type}'`).join(', ')})`;

function sqlOf(expression: Expression): string {
  switch (expression.kind) {
    case 'field':
      return readField(expression);
    case 'number':
      return String(expression.value);
    case 'negative':
      // In parentheses: two signs in a row begin a comment.
      return `-(${sqlOf(expression.of)})`;
    case 'either':
      return `CASE WHEN ${sqlOf(expression.condition)} THEN ${expression.yes} ELSE ${expression.no} END`;
  }
}

function readField({ of, name, reads }: Extract<Expression, { kind: 'field' }>): string {
  switch (reads) {
    case 'text':
      return `${of} ->> '${name}'`;
    case 'boolean':
      return `(${of} -> '${name}')::boolean`;
    case 'whole-number':
      // What JavaScript reads, however the number is spelled: 2.0 is 2.
      return `collector.whole_number(${of} ->> '${name}')`;
  }
}

function addUpInto(projection: Projection, schema: string): string {
  const { table, effects, columns, stamped } = projection;
  const key = projection.key.join(', ');
  const entries = Object.entries(columns);
  const updates = entries.map(([name, column]) => `${name} = ${takeIn(projection, name, column)}`);
  if (stamped === true) updates.push('updated_at = now()');
  return `
  ${table} AS (
    INSERT INTO ${schema}.${table} AS stored
      (${[...projection.key, ...Object.keys(columns)].join(', ')})
    SELECT ${key},
      ${Object.values(columns).map(ofBatch).join(',\n      ')}
    FROM ${effects.name}${concerned(projection)}
    GROUP BY ${key} ORDER BY ${key}
    ON CONFLICT (${key}) DO UPDATE SET
      ${updates.join(',\n      ')}
  )`;
}

/** Which rows of the effects concern a table: those with a place in it that tell something of it. */
function concerned(projection: Projection): string {
  const { effects, key, columns } = projection;
  const read = [...new Set(Object.values(columns).map(({ of }) => of))];
  const isOfEvent = (column: string): boolean => !(column in effects.columns);
  const conditions = key
    .filter((column) => !isOfEvent(column))
    .filter((column) => !effects.sources.every(({ values }) => isCertain(values[column])))
    .map((column) => `${column} IS NOT NULL`);
  const tellsAlways = effects.sources.every(({ values }) =>
    read.some((column) => isCertain(values[column])),
  );
  if (!tellsAlways && !read.some(isOfEvent))
    conditions.push(`num_nonnulls(${read.join(', ')}) > 0`);
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`;
}

/** What is stored where the effects of one batch are all that a row is told. */
function ofBatch(column: Column): string {
  const { guard, initially } = column;
  const value = addedBy(column);
  return initially === undefined ? value : `${atLeast[guard]}(${value}, ${initially})`;
}

/** What the effects of one batch come to; null where they tell nothing of the column. */
function addedBy({ guard, of, by }: Column): string {
  return {
    'event-id': `sum(${of})`,
    maximum: `max(${of})`,
    version: `(array_agg(${of} ORDER BY ${by} DESC NULLS LAST))[1]`,
  }[guard];
}

/** How a value and what a column holds initially come to one. Neither of the functions minds a null. */
const atLeast: Readonly<Record<Column['guard'], string>> = {
  'event-id': 'coalesce',
  maximum: 'greatest',
  version: 'coalesce',
};

/** What is stored after a batch: from what was stored and what the batch comes to. */
function takeIn(projection: Projection, name: string, { guard, by }: Column): string {
  switch (guard) {
    case 'event-id':
      return `stored.${name} + excluded.${name}`;
    case 'maximum':
      return `greatest(stored.${name}, excluded.${name})`;
    case 'version': {
      const version = versionColumn(projection, by!);
      // Nothing is stored of a version while only other events have told of the row.
      const isNewer =
        projection.columns[version]!.initially === undefined
          ? `stored.${version} IS NULL OR excluded.${version} > stored.${version}`
          : `excluded.${version} > stored.${version}`;
      return `CASE WHEN ${isNewer} THEN excluded.${name} ELSE stored.${name} END`;
    }
  }
}

/** What all effects come to, for verification. */
function ofAll({ guard, of, by, initially }: Column): string {
  if (guard === 'version') {
    const value = initially === undefined ? of : `coalesce(${of}, ${initially})`;
    const all = `array_agg(DISTINCT ${value}) FILTER (WHERE ${by} = newest_${by})`;
    return initially === undefined ? all : `coalesce(${all}, '{${initially}}')`;
  }
  const all = guard === 'event-id' ? `sum(${of})` : `max(${of})`;
  return initially === undefined ? all : `${atLeast[guard]}(${all}, ${initially})`;
}
