/** What the tables have of an event: the shop's and the collector's, and what its effects come to. */
import type { Event } from '../events/envelope';
import { readEventTime } from '../events/event-time';
import type { Coordinates } from '../events/received';
import type { DeadLetterStatus } from '../events/redrive';
import { isDataError, type Queryable } from '../platform/postgres/pool';
import { projections } from '../projections';
import type { Column, Projection } from '../projections/projection';
import { told } from '../projections/statements';

/** How a column takes a value in: added, kept if it is the newest, kept if it is the greatest. */
type ChangeKind = 'sum' | 'newest' | 'maximum';

/** What an event does to a column. */
interface ColumnChange {
  readonly column: string;
  readonly kind: ChangeKind;
  /** As text, since it may be beyond JavaScript's numbers. */
  readonly value: string;
}

/** What an event does to a row of a projection. */
export interface Effect {
  readonly table: string;
  /** What the table keeps, for people. */
  readonly about: string;
  readonly key: Readonly<Record<string, string>>;
  readonly changes: readonly ColumnChange[];
}

/** A dead letter with the event's ID. */
export interface JourneyLetter extends Coordinates {
  readonly id: number;
  readonly status: DeadLetterStatus;
  readonly reason: string;
  readonly tries: number;
  readonly parkedAt: string;
  readonly resolvedAt: string | null;
  readonly redrivingSince: string | null;
  readonly note: string | null;
  /** The workflow that parked it. */
  readonly workflowId: string;
  /** Whether it carries the event, as far as another store has it: a message may claim any ID. */
  readonly carriesEvent: boolean;
}

/** Later deliveries of an event, which changed nothing. Times are RFC 3339. */
export interface Repeats {
  /** How many; one that was interrupted may count twice. */
  readonly count: number;
  readonly firstAt: string;
  readonly lastAt: string;
  /** Where the last one stood. */
  readonly last: Coordinates;
}

/** What the tables of both sides have of an event. */
export interface Stored {
  readonly committed: {
    readonly at: Date;
    readonly sequence: number;
    readonly leftBehindAt: string | null;
  } | null;
  readonly published: (Coordinates & { readonly at: Date | null }) | null;
  readonly logged: (Coordinates & { readonly at: Date }) | null;
  readonly handled: { readonly at: Date; readonly workflowId: string } | null;
  readonly repeats: Repeats | null;
  readonly event: Event | null;
}

interface StoredRow {
  readonly sequence: number | null;
  readonly createdAt: Date;
  readonly leftBehindAt: Date | null;
  readonly publishedAt: Date | null;
  readonly publishedTo: Coordinates;
  readonly committedEvent: Event;
  readonly recordedAt: Date | null;
  readonly loggedAt: Coordinates;
  readonly loggedEvent: Event;
  readonly isOfAnother: boolean;
  readonly handledAt: Date | null;
  readonly workflowId: string;
  readonly repeats: number | null;
  readonly firstRepeatAt: Date;
  readonly lastRepeatAt: Date;
  readonly lastRepeat: Coordinates;
}

/** What the outbox, the audit log, the guard and the count of repeats have of an event, in one snapshot. */
export async function readStored(database: Queryable, eventId: string): Promise<Stored> {
  const { rows } = await database.query<StoredRow>({
    // Not prepared, so that it is planned again while the tables grow.
    text: `
      SELECT sequence, created_at AS "createdAt", left_behind_at AS "leftBehindAt",
        published_at AS "publishedAt",
        jsonb_build_object('topic', outbox.topic, 'partition', outbox.partition,
          'offset', outbox."offset") AS "publishedTo",
        outbox.payload AS "committedEvent",
        recorded_at AS "recordedAt",
        jsonb_build_object('topic', log.topic, 'partition', log.partition,
          'offset', log."offset") AS "loggedAt",
        log.payload AS "loggedEvent",
        coalesce(log.payload <> outbox.payload, false) AS "isOfAnother",
        handled_at AS "handledAt", workflow_id AS "workflowId",
        repeats.count AS repeats, repeats.first_at AS "firstRepeatAt",
        repeats.last_at AS "lastRepeatAt",
        jsonb_build_object('topic', repeats.topic, 'partition', repeats.partition,
          'offset', repeats."offset") AS "lastRepeat"
      FROM (SELECT $1::text AS event_id) AS asked
      LEFT JOIN commerce.outbox USING (event_id)
      LEFT JOIN collector.event_log AS log USING (event_id)
      LEFT JOIN collector.event_handled USING (event_id)
      LEFT JOIN collector.event_repeats AS repeats USING (event_id)`,
    values: [eventId],
  });
  return toStored(rows[0]!);
}

function toStored(row: StoredRow): Stored {
  const { sequence, publishedAt, recordedAt, handledAt, isOfAnother } = row;
  const committed =
    sequence === null
      ? null
      : { at: row.createdAt, sequence, leftBehindAt: toText(row.leftBehindAt) };
  // Another producer came first with the ID: what is logged and handled is not the shop's event.
  const logged = recordedAt === null || isOfAnother ? null : { at: recordedAt, ...row.loggedAt };
  const handled =
    handledAt === null || isOfAnother ? null : { at: handledAt, workflowId: row.workflowId };
  const repeats = isOfAnother ? null : repeatsOf(row);
  const event = committed === null ? row.loggedEvent : row.committedEvent;
  const published =
    publishedAt === null
      ? logged && { ...logged, at: null }
      : { at: publishedAt, ...row.publishedTo };
  return { committed, published, logged, handled, repeats, event };
}

function repeatsOf({ repeats: count, firstRepeatAt, lastRepeatAt, lastRepeat }: StoredRow) {
  if (count === null) return null;
  return {
    count,
    firstAt: firstRepeatAt.toISOString(),
    lastAt: lastRepeatAt.toISOString(),
    last: lastRepeat,
  };
}

const mostLetters = 20;

/** The dead letters with an event's ID, the newest first. */
export async function readLetters(database: Queryable, eventId: string): Promise<JourneyLetter[]> {
  const { rows } = await database.query<JourneyLetter & Record<LetterTime, Date | null>>({
    text: `
      SELECT id, topic, partition, "offset", status, reason, tries, note,
        parked_at AS "parkedAt", resolved_at AS "resolvedAt", redriving_since AS "redrivingSince",
        workflow_id AS "workflowId",
        coalesce(event IS NULL OR collector.json_of(value) = event, false) AS "carriesEvent"
      FROM collector.dead_letters CROSS JOIN (
        SELECT coalesce(
          (SELECT payload FROM commerce.outbox WHERE event_id = $1),
          (SELECT payload FROM collector.event_log WHERE event_id = $1)) AS event) AS known
      WHERE event_id = $1 ORDER BY id DESC LIMIT ${mostLetters}`,
    values: [eventId],
  });
  return rows.map(({ parkedAt, resolvedAt, redrivingSince, ...letter }) => ({
    ...letter,
    parkedAt: parkedAt.toISOString(),
    resolvedAt: toText(resolvedAt),
    redrivingSince: toText(redrivingSince),
  }));
}

type LetterTime = 'parkedAt' | 'resolvedAt' | 'redrivingSince';

interface ToldRow {
  readonly table: string;
  readonly key: Readonly<Record<string, string>>;
  readonly told: Readonly<Record<string, string>>;
}

const toldStatement = told(projections);
const projectionOf = new Map(projections.map((each) => [each.table, each]));

/** What the declarations of the projections make of the event; null when PostgreSQL rejects its values. */
export async function readEffects(
  database: Queryable,
  { event }: Stored,
): Promise<readonly Effect[] | null> {
  const occurredAt = event === null ? undefined : readEventTime(event.time);
  if (event === null || occurredAt === undefined) return [];
  try {
    const { rows } = await database.query<ToldRow>({
      text: toldStatement,
      values: [event.type, occurredAt.toISOString(), JSON.stringify(event.data)],
    });
    return rows.map((row) => toEffect(projectionOf.get(row.table)!, row));
  } catch (error) {
    if (isDataError(error)) return null;
    throw error;
  }
}

function toEffect(projection: Projection, { key: place, told: values }: ToldRow): Effect {
  const { table, about, columns } = projection;
  const key = Object.fromEntries(projection.key.map((name) => [name, place[name]!]));
  const changes = Object.entries(columns).flatMap(([column, { guard }]) => {
    const value = values[column];
    return value === undefined ? [] : [{ column, kind: changeKinds[guard], value }];
  });
  return { table, about, key, changes };
}

const changeKinds: Readonly<Record<Column['guard'], ChangeKind>> = {
  'event-id': 'sum',
  version: 'newest',
  maximum: 'maximum',
};

function toText(time: Date | null): string | null {
  return time === null ? null : time.toISOString();
}
