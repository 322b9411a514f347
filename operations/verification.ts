/**
 * Verification: checks the invariants of a live system in one database snapshot. Every check compares
 * committed states that must agree at any instant, or ignores what may still be in flight, so there are
 * no false alarms from timing.
 */
import { DatabaseError, type Pool, type PoolClient } from 'pg';
import { eventTopics } from '../events/topics';
import type { KafkaClient } from '../platform/kafka/client';
import { readGroupProgress } from '../platform/kafka/consumer-lag';
import { inTransaction } from '../platform/postgres/pool';
import { withTimeout } from '../platform/process/waiting';
import { checks, type Check, type CheckInput } from './verification-checks';

export interface VerificationDependencies {
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  /** The collector's consumer group. */
  readonly groupId: string;
}

export interface VerificationOptions {
  /**
   * Grace period: how long an event may be in flight before it counts as missing, in seconds; 0 on an
   * idle system.
   */
  readonly graceSeconds?: number;
  /** Most differences of a check that are reported; all are counted. */
  readonly maxDifferences?: number;
  /** What it may cost the database; without it, as much as it takes. */
  readonly bounds?: VerificationBounds;
}

/** Bounds of a verification beside which others work. With them it uses one processor of the database. */
interface VerificationBounds {
  /** Of each statement, and of asking Kafka, in ms. The pool's own timeout must not be shorter. */
  readonly statementMs: number;
  /** Of the whole, in ms. */
  readonly totalMs: number;
  /** Ends it before the next check. */
  readonly signal: AbortSignal;
}

/** The database is too large to be verified within the bounds. Without bounds it can be. */
export class VerificationTooLargeError extends Error {
  override readonly name = 'VerificationTooLargeError';
  readonly code = 'VERIFICATION_TOO_LARGE';

  constructor(check: string, options?: ErrorOptions) {
    super(
      `The tables are too large to be checked here (${check} did not end in time). ` +
        'Run npm run ops -- verify: it takes as long as it needs, and its outcome is shown here, too.',
      options,
    );
  }
}

export interface CheckResult {
  readonly name: string;
  /** The invariant. */
  readonly rule: string;
  readonly holds: boolean;
  /** What was compared, by name. */
  readonly figures: Readonly<Record<string, number>>;
  readonly differenceCount: number;
  /** The first of them. */
  readonly differences: readonly Readonly<Record<string, unknown>>[];
}

export interface VerificationReport {
  readonly holds: boolean;
  readonly checks: readonly CheckResult[];
}

/**
 * Fifteen minutes: the delivery audit handles overdue events from the tenth minute on, once a minute,
 * and by then has repaired what it can.
 */
export const defaultGraceSeconds = 900;
const defaultMaxDifferences = 20;

/**
 * Runs every check in one snapshot. Read-only, and blocks nobody.
 *
 * @throws VerificationTooLargeError beyond its bounds; their signal's reason; TimeoutError when Kafka is silent;
 *   an error of kafkajs or the driver
 */
export async function verify(
  { pool, kafka, groupId }: VerificationDependencies,
  {
    graceSeconds = defaultGraceSeconds,
    maxDifferences = defaultMaxDifferences,
    bounds,
  }: VerificationOptions = {},
): Promise<VerificationReport> {
  const now = Date.now();
  const reading = readGroupProgress(kafka, groupId, eventTopics);
  const progress = await (bounds === undefined
    ? reading
    : withTimeout(reading, bounds.statementMs, { message: 'Kafka did not answer in time' }));
  return inTransaction(pool, async (connection) => {
    await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await connection.query(
      bounds === undefined
        ? 'SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0'
        : `SET LOCAL statement_timeout = ${bounds.statementMs}; SET LOCAL max_parallel_workers_per_gather = 0`,
    );
    const results: CheckResult[] = [];
    for (const check of checks) {
      const input = { graceSeconds, progress, now };
      const work = () => run(connection, check, input, maxDifferences);
      results.push(await (bounds === undefined ? work() : within(bounds, now, check, work)));
    }
    return { holds: results.every(({ holds }) => holds), checks: results };
  });
}

async function within(
  { totalMs, signal }: VerificationBounds,
  from: number,
  { name }: Check,
  work: () => Promise<CheckResult>,
): Promise<CheckResult> {
  signal.throwIfAborted();
  if (Date.now() - from > totalMs) throw new VerificationTooLargeError(name);
  try {
    return await work();
  } catch (error) {
    throw isStatementTimeout(error) ? new VerificationTooLargeError(name, { cause: error }) : error;
  }
}

// SQLSTATE query_canceled.
function isStatementTimeout(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === '57014';
}

async function run(
  connection: PoolClient,
  { name, rule, figures, figureValues, differences, values }: Check,
  input: CheckInput,
  maxDifferences: number,
): Promise<CheckResult> {
  const figuresRow = await connection.query<{ figures: Record<string, number> }>(
    `SELECT to_json(figures) AS figures FROM (${figures}) AS figures`,
    figureValues?.(input),
  );
  const found = await connection.query<{ count: number; difference: Record<string, unknown> }>(
    // As JSON, so that numbers beyond JavaScript's range can be shown, too.
    `SELECT count(*) OVER () AS count, to_json(difference) AS difference
     FROM (${differences}) AS difference LIMIT ${maxDifferences}`,
    values(input),
  );
  const differenceCount = found.rows[0]?.count ?? 0;
  return {
    name,
    rule,
    holds: differenceCount === 0,
    figures: figuresRow.rows[0]!.figures,
    differenceCount,
    differences: found.rows.map(({ difference }) => difference),
  };
}
