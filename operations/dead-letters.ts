/**
 * Operations on dead letters: list, group, check, redrive, discard. Shared by the HTTP routes and the command line.
 *
 * Reads are SQL. Changes are workflows, so that they run where the privileges are, survive a crash of
 * the caller, and are visible in the Web UI.
 *
 * **When a dead letter may be redriven.** A parked one always can be, unless it is an unreadable range:
 * its bytes are kept, but cannot be sent as a message. A redriven or discarded one is settled, and is
 * sent again only on explicit request (`again`): a redriven message that failed again is a new dead
 * letter, which is the one to redrive, and a discarded one has a reason that should be read first. A
 * redrive is safe at any time: an event takes effect once.
 *
 * **Many at once.** A command for a filter names how many it expects, and is refused with the true number
 * when there are others by now. What it means is read once, so nothing that is parked meanwhile is
 * touched. Each of them has its own workflow, as if it were redriven or discarded alone: a command that
 * is cut off leaves some parked, and none half done.
 */
import { isGrpcServiceError, type Client, type WorkflowHandle } from '@temporalio/client';
import { encodeBytes, type EncodedBytes, type ReceivedHeader } from '../events/received';
import type {
  DeadLetterStatus,
  DiscardDeadLetter,
  DiscardOutcome,
  RedriveDeadLetter,
  RedriveOutcome,
} from '../events/redrive';
import type { Queryable } from '../platform/postgres/pool';
import { workflowIds } from '../events/workflow-ids';
import { taskQueues, workflowTypes } from '../events/workflow-names';
import { forEachConcurrently } from '../platform/process/concurrency';
import { TimeoutError, withTimeout } from '../platform/process/waiting';
import {
  checkMessages,
  summarize,
  type CheckedDeadLetter,
  type CheckReport,
} from './dead-letter-check';
import {
  filterParameters,
  matches,
  valuesOf,
  type DeadLetterFilter,
  type ParkedFilter,
} from './dead-letter-filter';
import { readGroups, type DeadLetterGroups } from './dead-letter-groups';

/** A dead letter without its message. Times are RFC 3339. */
export interface DeadLetter {
  readonly id: number;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** For an unreadable range: its last offset. It cannot be redriven. */
  readonly lastOffset: number | null;
  readonly key: EncodedBytes | null;
  /** The event's ID, where one could be read. */
  readonly eventId: string | null;
  /** Code of what is wrong, such as `NOT_JSON`. */
  readonly reason: string;
  /** What is wrong, for a person. */
  readonly detail: string;
  readonly status: DeadLetterStatus;
  /** Delivery attempts; more than 1 when it was redriven and failed again. */
  readonly tries: number;
  /** The dead letter that it was redriven from when it failed again. */
  readonly redrivenFrom: number | null;
  /** Redrives of this dead letter that have ended. */
  readonly attempt: number;
  /** When the redrive in progress started. */
  readonly redrivingSince: string | null;
  /** The workflow that parked it. */
  readonly workflowId: string;
  readonly producedAt: string;
  readonly parkedAt: string;
  /** When and by whom it was redriven or discarded. */
  readonly resolvedAt: string | null;
  readonly resolvedBy: string | null;
  /** Why it was discarded, or could not be redriven. */
  readonly note: string | null;
  /** Whether the dead-letter topic has a copy, and why it never will. */
  readonly copied: boolean;
  readonly copyError: string | null;
  /** Who sent it, as the message itself says; null where it does not. */
  readonly producer: string | null;
  /** What became of it once it was redriven; null where it was not. */
  readonly outcome: RedrivenOutcome | null;
  /** The dead letter that it became when it failed again; the latest, where that happened repeatedly. */
  readonly parkedAgainAs: number | null;
}

/**
 * What became of a redriven message: its event has had all its effects, it was parked as another dead
 * letter, or neither so far.
 */
type RedrivenOutcome = 'handled' | 'parked-again' | 'waiting';

export interface DeadLetterWithMessage extends DeadLetter {
  readonly value: EncodedBytes | null;
  readonly headers: readonly ReceivedHeader[];
}

interface DeadLetterPage {
  /** The newest first. */
  readonly deadLetters: readonly DeadLetter[];
  /** Where the next page begins; absent when this is the last. */
  readonly next?: number;
}

export interface DeadLetterDependencies {
  readonly database: Queryable;
  readonly temporal: Client;
}

interface RedriveOptions {
  /** Who asks for it; kept on record. */
  readonly by: string;
  /** Whether to redrive settled ones, too. */
  readonly again?: boolean;
}

interface DiscardOptions {
  readonly by: string;
  /** Why, for a person. */
  readonly reason: string;
}

interface Pace {
  /** Most at once. */
  readonly concurrency?: number;
  /** Called after each, in no particular order. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/** Result of redriving many. */
export interface RedriveReport {
  readonly redriven: number;
  /** Those that had been redriven before. */
  readonly redrivenBefore: number;
  /** Those that were not sent, and why. */
  readonly failed: readonly {
    readonly deadLetterId: number;
    readonly outcome: Exclude<RedriveOutcome, { kind: 'redriven' }>;
  }[];
}

/** Result of discarding many. */
export interface DiscardReport {
  readonly discarded: number;
  /** Those that were not discarded, and why. */
  readonly failed: readonly {
    readonly deadLetterId: number;
    readonly outcome: Exclude<DiscardOutcome, { kind: 'discarded' }>;
  }[];
}

/** Outcome of a command for all that match a filter. */
export type MatchingOutcome<Report> =
  /**
   * `left` of the `matched` were not tried, since one command takes at most {@link maxPerCommand} and ends
   * after fifteen seconds, or what became of them was not known by then.
   */
  | {
      readonly kind: 'done';
      readonly matched: number;
      readonly left: number;
      readonly report: Report;
    }
  /** So many match, and not as many as expected: nothing was changed. */
  | { readonly kind: 'count-differs'; readonly matched: number };

/** Most dead letters that one command for a filter redrives, discards or checks. */
export const maxPerCommand = 200;

export interface DeadLetterOperations {
  /** The newest dead letters first. @param after the `next` of the page before */
  list(
    filter?: DeadLetterFilter,
    page?: { readonly limit?: number | undefined; readonly after?: number | undefined },
  ): Promise<DeadLetterPage>;

  /** One dead letter with its message. */
  find(deadLetterId: number): Promise<DeadLetterWithMessage | undefined>;

  /** The IDs of all that match, the oldest first. */
  select(filter: DeadLetterFilter): Promise<number[]>;

  /**
   * Redrives one. Concurrent calls share one redrive; a later call returns that it is settled.
   *
   * @throws DeadLetterCommandPendingError
   */
  redrive(deadLetterId: number, options: RedriveOptions): Promise<RedriveOutcome>;

  /**
   * Redrives many. Safe to retry after an interruption: those already sent are not sent again.
   *
   * @throws DeadLetterCommandPendingError for the first that times out; those after it are not started
   */
  redriveMany(
    deadLetterIds: readonly number[],
    options: RedriveOptions & Pace,
  ): Promise<RedriveReport>;

  /**
   * Redrives the parked ones that match, if they are as many as expected. What Kafka has refused before
   * comes last, the oldest first.
   *
   * @throws DeadLetterCommandPendingError as `redriveMany`
   */
  redriveMatching(
    filter: ParkedFilter,
    expected: number,
    options: Pick<RedriveOptions, 'by'>,
  ): Promise<MatchingOutcome<RedriveReport>>;

  /**
   * Discards one; the record is kept.
   *
   * @throws DeadLetterCommandPendingError
   */
  discard(deadLetterId: number, options: DiscardOptions): Promise<DiscardOutcome>;

  /**
   * Discards many, for one reason. Safe to retry after an interruption.
   *
   * @throws DeadLetterCommandPendingError for the first that times out; those after it are not started
   */
  discardMany(
    deadLetterIds: readonly number[],
    options: DiscardOptions & Pace,
  ): Promise<DiscardReport>;

  /**
   * Discards the parked ones that match, if they are as many as expected, the oldest first.
   *
   * @throws DeadLetterCommandPendingError as `discardMany`
   */
  discardMatching(
    filter: ParkedFilter,
    expected: number,
    options: DiscardOptions,
  ): Promise<MatchingOutcome<DiscardReport>>;

  /** Those that match, in groups. */
  groups(filter: DeadLetterFilter): Promise<DeadLetterGroups>;

  /** Whether the bridge would accept these messages now, in the order of their IDs; writes nothing. */
  check(deadLetterIds: readonly number[]): Promise<CheckedDeadLetter[]>;

  /** The same for all that match, the oldest first. */
  checkMatching(filter: DeadLetterFilter): Promise<CheckReport>;
}

/** Timeout: the command may have been accepted, and may still be carried out. */
export class DeadLetterCommandPendingError extends Error {
  override readonly name = 'DeadLetterCommandPendingError';
  readonly code = 'DEAD_LETTER_COMMAND_PENDING';

  constructor(
    readonly workflowId: string,
    cause: unknown,
  ) {
    super(
      `The workflow ${workflowId} has not ended in time. Nothing is lost: look it up in the Web UI, ` +
        'check that Temporal, Kafka and a worker:collector are running, and retry.',
      { cause },
    );
  }
}

export interface DeadLetterLimits {
  readonly commandTimeoutMs?: number;
  /**
   * How long a command for a filter takes at most, in ms, with the reading of what matches: what has not ended
   * by then is left.
   */
  readonly matchingTimeoutMs?: number;
}

const defaultPageLength = 50;
const defaultConcurrency = 16;

/** The operations on a database and a Temporal client. */
export function createDeadLetterOperations(
  { database, temporal }: DeadLetterDependencies,
  { commandTimeoutMs = 30_000, matchingTimeoutMs = 15_000 }: DeadLetterLimits = {},
): DeadLetterOperations {
  const run = <Outcome>(type: string, workflowId: string, command: object): Promise<Outcome> =>
    startAndWait<Outcome>(temporal, { type, workflowId, command, timeoutMs: commandTimeoutMs });

  const redrive: DeadLetterOperations['redrive'] = async (deadLetterId, { by, again = false }) => {
    const state = await readState(database, deadLetterId);
    if (state === undefined) return { kind: 'unknown-dead-letter' };
    const { status, attempt: ended } = state;
    if (state.last_offset !== null) return { kind: 'unreadable' };
    if (status !== 'parked' && !again) return { kind: 'settled', status };
    const attempt = ended + 1;
    const command: RedriveDeadLetter = { deadLetterId, attempt, by, again };
    const workflowId = workflowIds.redriveDeadLetter(deadLetterId, attempt);
    return run(workflowTypes.redriveDeadLetter, workflowId, command);
  };

  const redriveMany: DeadLetterOperations['redriveMany'] = async (deadLetterIds, options) =>
    toRedriveReport(await settleMany(deadLetterIds, options, (id) => redrive(id, options)));

  const discard: DeadLetterOperations['discard'] = (deadLetterId, { by, reason }) => {
    const command: DiscardDeadLetter = { deadLetterId, by, reason };
    const workflowId = workflowIds.discardDeadLetter(deadLetterId);
    return run(workflowTypes.discardDeadLetter, workflowId, command);
  };

  const discardMany: DeadLetterOperations['discardMany'] = async (deadLetterIds, options) =>
    toDiscardReport(await settleMany(deadLetterIds, options, (id) => discard(id, options)));

  return {
    redrive,

    async list(filter = {}, { limit = defaultPageLength, after } = {}) {
      const rows = await readPage(database, filter, { limit: limit + 1, after });
      const deadLetters = rows.slice(0, limit).map(toDeadLetter);
      const last = deadLetters.at(-1);
      return rows.length > limit && last !== undefined
        ? { deadLetters, next: last.id }
        : { deadLetters };
    },

    async find(deadLetterId) {
      const row = await readOne(database, deadLetterId);
      return row && { ...toDeadLetter(row), value: encoded(row.value), headers: row.headers };
    },

    select: (filter) => readIds(database, filter),

    redriveMany,

    async redriveMatching(filter, expected, options) {
      const deadline = Date.now() + matchingTimeoutMs;
      const matching = await readMatching(database, toParked(filter), sendableFirst);
      return ifAsExpected(
        { ...matching, expected, deadline },
        (id) => redrive(id, options),
        toRedriveReport,
      );
    },

    discard,
    discardMany,

    async discardMatching(filter, expected, options) {
      const deadline = Date.now() + matchingTimeoutMs;
      const matching = await readMatching(database, toParked(filter), 'id');
      return ifAsExpected(
        { ...matching, expected, deadline },
        (id) => discard(id, options),
        toDiscardReport,
      );
    },

    groups: (filter) => readGroups(database, filter),

    check: (deadLetterIds) => checkMessages(database, deadLetterIds),

    async checkMatching(filter) {
      const { matched, ids } = await readMatching(database, filter, 'id');
      return summarize(matched, await checkMessages(database, ids));
    },
  };
}

interface OutcomeOf<Outcome> {
  readonly deadLetterId: number;
  readonly outcome: Outcome;
}

async function settleMany<Outcome>(
  deadLetterIds: readonly number[],
  { concurrency = defaultConcurrency, onProgress }: Pace,
  settle: (deadLetterId: number) => Promise<Outcome>,
): Promise<OutcomeOf<Outcome>[]> {
  const distinct = [...new Set(deadLetterIds)];
  const outcomes: OutcomeOf<Outcome>[] = [];
  await forEachConcurrently(distinct, concurrency, async (deadLetterId) => {
    outcomes.push({ deadLetterId, outcome: await settle(deadLetterId) });
    onProgress?.({ done: outcomes.length, total: distinct.length });
  });
  return outcomes;
}

async function ifAsExpected<Outcome, Report>(
  { matched, ids, expected, deadline }: ExpectedMatching,
  settle: (deadLetterId: number) => Promise<Outcome>,
  toReport: (outcomes: readonly OutcomeOf<Outcome>[]) => Report,
): Promise<MatchingOutcome<Report>> {
  if (matched !== expected) return { kind: 'count-differs', matched };
  const outcomes = await settleInTime(ids, deadline, settle);
  const left = matched - outcomes.length;
  return { kind: 'done', matched, left, report: toReport(outcomes) };
}

/** How long before its deadline a command for a filter begins with no further one, in ms. */
const lastBeginsBeforeMs = 5_000;

// What is done must be told, whatever became of the others: a repeat of the command would find another count.
async function settleInTime<Outcome>(
  deadLetterIds: readonly number[],
  deadline: number,
  settle: (deadLetterId: number) => Promise<Outcome>,
): Promise<OutcomeOf<Outcome>[]> {
  const outcomes: OutcomeOf<Outcome>[] = [];
  await forEachConcurrently(deadLetterIds, defaultConcurrency, async (deadLetterId) => {
    const leftMs = deadline - Date.now();
    if (leftMs <= lastBeginsBeforeMs) return;
    try {
      outcomes.push({ deadLetterId, outcome: await withTimeout(settle(deadLetterId), leftMs) });
    } catch (error) {
      const isPending =
        error instanceof DeadLetterCommandPendingError || error instanceof TimeoutError;
      if (!isPending) throw error;
    }
  });
  return outcomes;
}

function toParked(filter: ParkedFilter): DeadLetterFilter {
  return { ...filter, status: 'parked' };
}

function toDiscardReport(outcomes: readonly OutcomeOf<DiscardOutcome>[]): DiscardReport {
  const failed = outcomes.flatMap(({ deadLetterId, outcome }) =>
    outcome.kind === 'discarded' ? [] : { deadLetterId, outcome },
  );
  return { discarded: outcomes.length - failed.length, failed };
}

function toRedriveReport(outcomes: readonly OutcomeOf<RedriveOutcome>[]): RedriveReport {
  let redriven = 0;
  let redrivenBefore = 0;
  const failed: RedriveReport['failed'][number][] = [];
  for (const { deadLetterId, outcome } of outcomes) {
    if (outcome.kind === 'redriven') redriven += 1;
    else if (outcome.kind === 'settled' && outcome.status === 'redriven') redrivenBefore += 1;
    else failed.push({ deadLetterId, outcome });
  }
  return { redriven, redrivenBefore, failed };
}

interface CommandStart {
  readonly type: string;
  readonly workflowId: string;
  readonly command: object;
  readonly timeoutMs: number;
}

// The row decides, not a finished run of the same ID. A running one is joined.
async function startAndWait<Outcome>(
  temporal: Client,
  { type, workflowId, command, timeoutMs }: CommandStart,
): Promise<Outcome> {
  const start = (): Promise<WorkflowHandle> =>
    temporal.workflow.start(type, {
      workflowId,
      taskQueue: taskQueues.collector,
      args: [command],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  try {
    return await temporal.withDeadline(Date.now() + timeoutMs, async () => {
      const handle = await start();
      return (await handle.result()) as Outcome;
    });
  } catch (error) {
    if (isOutOfReach(error)) throw new DeadLetterCommandPendingError(workflowId, error);
    throw error;
  }
}

function isOutOfReach(error: unknown): boolean {
  if (isGrpcServiceError(error)) return true;
  return error instanceof Error && isGrpcServiceError(error.cause);
}

interface DeadLetterRow {
  readonly id: number;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly last_offset: number | null;
  readonly key: Buffer | null;
  readonly event_id: string | null;
  readonly reason: string;
  readonly detail: string;
  readonly status: DeadLetterStatus;
  readonly tries: number;
  readonly redriven_from: number | null;
  readonly attempt: number;
  readonly redriving_since: Date | null;
  readonly workflow_id: string;
  readonly produced_at: Date;
  readonly parked_at: Date;
  readonly resolved_at: Date | null;
  readonly resolved_by: string | null;
  readonly note: string | null;
  readonly copied: boolean;
  readonly copy_error: string | null;
  readonly producer: string | null;
  readonly handled: boolean;
  readonly parked_again_as: number | null;
}

const columns = `
  letter.id, topic, partition, "offset", last_offset, key, event_id, reason, detail, status, tries, redriven_from, attempt,
  redriving_since, workflow_id, produced_at, letter.parked_at, resolved_at, resolved_by, note, copied, copy_error,
  producer, again.id AS parked_again_as, handled`;

// Derived, since whatever is recorded at a redrive is sent before it is known. What was parked again counts
// as handled once its event is handled after that: by a later redrive, of this or of the other one. Only
// its own event counts, not another one with the same ID, and only with all that it had to notify of.
const outcome = `
  LEFT JOIN LATERAL (
    SELECT id, parked_at FROM collector.dead_letters AS later
    WHERE later.redriven_from = letter.id ORDER BY id DESC LIMIT 1
  ) AS again ON true
  CROSS JOIN LATERAL (
    SELECT CASE WHEN letter.status = 'redriven' THEN EXISTS (
      SELECT FROM collector.event_log AS logged JOIN collector.event_handled AS done USING (event_id)
      WHERE event_id = collector.json_of(letter.value) ->> 'id'
        AND logged.payload = collector.json_of(letter.value)
        AND done.handled_at > coalesce(again.parked_at, '-infinity')
        AND NOT EXISTS (
          SELECT FROM collector.notifications AS due
          WHERE due.event_id = logged.event_id AND due.status <> 'delivered')
    ) ELSE false END AS handled
  ) AS outcome`;

async function readPage(
  database: Queryable,
  filter: DeadLetterFilter,
  { limit, after }: { readonly limit: number; readonly after: number | undefined },
): Promise<DeadLetterRow[]> {
  const { rows } = await database.query<DeadLetterRow>({
    text: `
      SELECT ${columns} FROM (
        SELECT * FROM collector.dead_letters
        WHERE ${matches} AND ($${filterParameters + 1}::bigint IS NULL OR id < $${filterParameters + 1})
        ORDER BY id DESC LIMIT $${filterParameters + 2}
      ) AS letter ${outcome}
      ORDER BY letter.id DESC`,
    values: [...valuesOf(filter), after ?? null, limit],
  });
  return rows;
}

// An unreadable range is never sent, and what Kafka has refused, it will refuse again: neither may keep a
// command of limited size from what is behind it.
const sendableFirst = 'last_offset IS NOT NULL, note IS NOT NULL, id';

/** How many match a filter, and the IDs of as many as one command takes. */
interface Matching {
  readonly matched: number;
  readonly ids: readonly number[];
}

/** What matches, how many the caller expects, and when the command is over, in ms. */
interface ExpectedMatching extends Matching {
  readonly expected: number;
  readonly deadline: number;
}

async function readMatching(
  database: Queryable,
  filter: DeadLetterFilter,
  order: string,
): Promise<Matching> {
  const { rows } = await database.query<{ id: number; matched: number }>({
    text: `
      SELECT id, (count(*) OVER ())::integer AS matched FROM collector.dead_letters
      WHERE ${matches} ORDER BY ${order} LIMIT ${maxPerCommand}`,
    values: valuesOf(filter),
  });
  return { matched: rows[0]?.matched ?? 0, ids: rows.map(({ id }) => id) };
}

async function readIds(database: Queryable, filter: DeadLetterFilter): Promise<number[]> {
  const { rows } = await database.query<{ id: number }>({
    text: `SELECT id FROM collector.dead_letters WHERE ${matches} ORDER BY id`,
    values: valuesOf(filter),
  });
  return rows.map(({ id }) => id);
}

type DeadLetterRowWithMessage = DeadLetterRow & {
  readonly value: Buffer | null;
  readonly headers: readonly ReceivedHeader[];
};

async function readOne(
  database: Queryable,
  deadLetterId: number,
): Promise<DeadLetterRowWithMessage | undefined> {
  const { rows } = await database.query<DeadLetterRowWithMessage>({
    text: `
      SELECT ${columns}, value, headers FROM collector.dead_letters AS letter ${outcome}
      WHERE letter.id = $1`,
    values: [deadLetterId],
  });
  return rows[0];
}

type DeadLetterState = Pick<DeadLetterRow, 'status' | 'attempt' | 'last_offset'>;

async function readState(
  database: Queryable,
  deadLetterId: number,
): Promise<DeadLetterState | undefined> {
  const { rows } = await database.query<DeadLetterState>({
    text: 'SELECT status, attempt, last_offset FROM collector.dead_letters WHERE id = $1',
    values: [deadLetterId],
  });
  return rows[0];
}

function toDeadLetter(row: DeadLetterRow): DeadLetter {
  return {
    id: row.id,
    topic: row.topic,
    partition: row.partition,
    offset: row.offset,
    lastOffset: row.last_offset,
    key: encoded(row.key),
    eventId: row.event_id,
    reason: row.reason,
    detail: row.detail,
    status: row.status,
    tries: row.tries,
    redrivenFrom: row.redriven_from,
    attempt: row.attempt,
    redrivingSince: toText(row.redriving_since),
    workflowId: row.workflow_id,
    producedAt: row.produced_at.toISOString(),
    parkedAt: row.parked_at.toISOString(),
    resolvedAt: toText(row.resolved_at),
    resolvedBy: row.resolved_by,
    note: row.note,
    copied: row.copied,
    copyError: row.copy_error,
    producer: row.producer,
    outcome: row.status === 'redriven' ? outcomeOf(row) : null,
    parkedAgainAs: row.parked_again_as,
  };
}

function outcomeOf({ handled, parked_again_as }: DeadLetterRow): RedrivenOutcome {
  if (handled) return 'handled';
  return parked_again_as === null ? 'waiting' : 'parked-again';
}

function encoded(bytes: Buffer | null): EncodedBytes | null {
  return bytes === null ? null : encodeBytes(bytes);
}

function toText(time: Date | null): string | null {
  return time === null ? null : time.toISOString();
}
