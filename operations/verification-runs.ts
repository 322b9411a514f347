/**
 * Runs of the verification that are kept (`collector.verifications`): those that an operator starts from the
 * page, and those of the command line. They are read by the page, the verdict on the system and Prometheus.
 *
 * The API runs one at a time, however many of its processes are asked, within bounds: beside it, the shop works.
 */
import type { Pool } from 'pg';
import type { KafkaClient } from '../platform/kafka/client';
import { connectionFailureOf } from '../platform/kafka/connection';
import type { Logger } from '../platform/observability/logger';
import { isConnectionLost, type Queryable } from '../platform/postgres/pool';
import { TimeoutError } from '../platform/process/waiting';
import {
  verify,
  VerificationTooLargeError,
  type CheckResult,
  type VerificationReport,
} from './verification';

/** `differs`: an invariant is violated. `incomplete`: not every one could be checked. */
export type VerificationOutcome = 'holds' | 'differs' | 'incomplete';

/** A run that has ended. */
export interface VerificationRun {
  readonly by: string;
  readonly startedAt: Date;
  readonly finishedAt: Date;
  readonly outcome: VerificationOutcome;
  /** Why not every invariant could be checked; null when each was. */
  readonly failure: string | null;
  /** Each with the first of its differences, of which long values are cut; empty when incomplete. */
  readonly checks: readonly CheckResult[];
}

/** The run under way, and the last one that has ended. */
export interface LastVerifications {
  readonly running: { readonly by: string; readonly startedAt: Date } | null;
  readonly last: VerificationRun | null;
}

/** Starts and reads runs. */
export interface VerificationRuns {
  /** @throws when PostgreSQL is unavailable */
  read(): Promise<LastVerifications>;
  /** Starts a run, unless one is under way, which is shared then. @param by kept on record */
  start(by: string): Promise<LastVerifications>;
  /** Ends the run of this process, within some seconds. */
  stop(): Promise<void>;
}

/** What runs need. */
export interface VerificationRunDependencies {
  /** For the records, as a user that may write `collector.verifications`. */
  readonly database: Queryable;
  /** For the checks. */
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  /** The collector's consumer group. */
  readonly groupId: string;
  readonly logger: Logger;
}

/** Half a minute in all, with the statements of the last check. */
const bounds = { statementMs: 5_000, totalMs: 20_000 };

/** A run that has not ended after this many seconds never will: its process has. */
const abandonedAfterSeconds = 90;

/** Runs that are kept. */
const keptRuns = 100;

/** Differences of a check that are kept. */
const keptDifferences = 5;

/** Characters of a value in a difference that are kept: an event may have 256 KiB. */
const keptCharacters = 300;

export function createVerificationRuns(
  dependencies: VerificationRunDependencies,
): VerificationRuns {
  const { database, logger } = dependencies;
  const stopping = new AbortController();
  let underWay = Promise.resolve();
  return {
    read: () => readLast(database),
    async start(by) {
      const id = await claim(database, by);
      if (id !== undefined) {
        underWay = run(dependencies, id, stopping.signal).catch((error: unknown) => {
          logger.error({ err: error }, 'the outcome of a verification could not be kept');
        });
      }
      return readLast(database);
    },
    async stop() {
      stopping.abort();
      await underWay;
    },
  };
}

/** Keeps a run that has ended, of whoever may write `collector.verifications`. */
export async function recordVerification(
  database: Queryable,
  {
    by,
    startedAt,
    report,
  }: Pick<VerificationRun, 'by' | 'startedAt'> & { report: VerificationReport },
): Promise<void> {
  await database.query({
    name: 'verifications-record',
    text: `
      INSERT INTO collector.verifications (requested_by, started_at, finished_at, outcome, checks)
      VALUES ($1, $2, now(), $3, $4)`,
    values: [by, startedAt, outcomeOf(report), JSON.stringify(report.checks.map(shortened))],
  });
  await deleteOld(database);
}

async function run(
  dependencies: VerificationRunDependencies,
  id: number,
  signal: AbortSignal,
): Promise<void> {
  const { database, logger } = dependencies;
  try {
    const report = await verify(dependencies, {
      maxDifferences: keptDifferences,
      bounds: { ...bounds, signal },
    });
    await finish(database, id, outcomeOf(report), null, report.checks);
    if (!report.holds) logger.error({ violated: violatedIn(report) }, 'the verification differs');
  } catch (error) {
    logger.warn({ err: error }, 'the verification is incomplete');
    await finish(database, id, 'incomplete', signal.aborted ? stopped : failureOf(error), []);
  }
  await deleteOld(database);
}

function outcomeOf({ holds }: VerificationReport): VerificationOutcome {
  return holds ? 'holds' : 'differs';
}

function violatedIn({ checks }: VerificationReport): string[] {
  return checks.filter(({ holds }) => !holds).map(({ name }) => name);
}

const stopped = 'The process that ran it was stopped. Start it again.';
const abandoned =
  'It did not end in time: its process has ended, or could not write the outcome. Start it again.';

// Without addresses or statements, which only logs may have.
function failureOf(error: unknown): string {
  if (error instanceof VerificationTooLargeError) return error.message;
  if (isConnectionLost(error)) return 'PostgreSQL was unavailable. Start it again.';
  if (error instanceof TimeoutError || connectionFailureOf(error) !== undefined) {
    return 'Kafka did not say how far the collector has consumed. Start it again when Kafka answers.';
  }
  return 'It failed; the log of the API says why.';
}

/** @returns the ID of a run that is this caller's to carry out; undefined while another is under way */
async function claim(database: Queryable, by: string): Promise<number | undefined> {
  await database.query({
    name: 'verifications-end-abandoned',
    text: `
      UPDATE collector.verifications SET finished_at = now(), outcome = 'incomplete', failure = $2
      WHERE finished_at IS NULL AND started_at <= now() - make_interval(secs => $1)`,
    values: [abandonedAfterSeconds, abandoned],
  });
  const { rows } = await database.query<{ id: number }>({
    name: 'verifications-claim',
    text: `
      INSERT INTO collector.verifications (requested_by) VALUES ($1)
      ON CONFLICT DO NOTHING RETURNING id`,
    values: [by],
  });
  return rows[0]?.id;
}

async function finish(
  database: Queryable,
  id: number,
  outcome: VerificationOutcome,
  failure: string | null,
  checks: readonly CheckResult[],
): Promise<void> {
  await database.query({
    name: 'verifications-finish',
    text: `
      UPDATE collector.verifications SET finished_at = now(), outcome = $2, failure = $3, checks = $4
      WHERE id = $1 AND finished_at IS NULL`,
    values: [id, outcome, failure, JSON.stringify(checks.map(shortened))],
  });
}

/** Keeps what the verdict goes by, however many incomplete ones came after it. */
async function deleteOld(database: Queryable): Promise<void> {
  await database.query({
    name: 'verifications-delete-old',
    text: `
      DELETE FROM collector.verifications
      WHERE finished_at IS NOT NULL AND id <= (SELECT max(id) FROM collector.verifications) - $1
        AND id IS DISTINCT FROM (SELECT id FROM collector.verifications
          WHERE outcome IN ('holds', 'differs') ORDER BY finished_at DESC, id DESC LIMIT 1)`,
    values: [keptRuns],
  });
}

interface RunRow extends Omit<VerificationRun, 'finishedAt' | 'outcome'> {
  readonly finishedAt: Date | null;
  readonly outcome: VerificationOutcome | null;
  readonly abandoned: boolean;
}

async function readLast(database: Queryable): Promise<LastVerifications> {
  const { rows } = await database.query<RunRow>({
    name: 'verifications-last',
    text: `
      (SELECT ${runColumns} FROM collector.verifications WHERE finished_at IS NULL)
      UNION ALL
      (SELECT ${runColumns} FROM collector.verifications
        WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC LIMIT 1)`,
    values: [abandonedAfterSeconds],
  });
  const running = rows.find(({ finishedAt, abandoned }) => finishedAt === null && !abandoned);
  const last = rows.find(({ finishedAt }) => finishedAt !== null);
  return {
    running: running === undefined ? null : { by: running.by, startedAt: running.startedAt },
    last:
      last === undefined ? null : { ...last, finishedAt: last.finishedAt!, outcome: last.outcome! },
  };
}

const runColumns = `
  requested_by AS by, started_at AS "startedAt", finished_at AS "finishedAt", outcome, failure, checks,
  started_at <= now() - make_interval(secs => $1) AS abandoned`;

function shortened(check: CheckResult): CheckResult {
  return {
    ...check,
    differences: check.differences.slice(0, keptDifferences).map(shortenedValues),
  };
}

function shortenedValues(difference: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(difference).map(([name, value]) => {
      const text = JSON.stringify(value);
      return [name, text.length <= keptCharacters ? value : `${text.slice(0, keptCharacters)} …`];
    }),
  );
}
