/**
 * Verification: checks that what must always hold does hold, on a live system, in one snapshot of the
 * database. Every check compares committed states that must agree at any instant, or leaves out what
 * may still be in flight; so a difference is never a matter of bad timing.
 */
import type { Kafka } from 'kafkajs';
import type { Pool, PoolClient } from 'pg';
import { eventTopics } from '../events/topics';
import { readGroupProgress } from '../platform/kafka/consumer-lag';
import { inTransaction } from '../platform/postgres/pool';
import { checks, type Check, type CheckInput } from './verification-checks';

/** What verifying needs. */
export interface VerificationDependencies {
  readonly pool: Pool;
  readonly kafka: Kafka;
  /** The collector's consumer group. */
  readonly groupId: string;
}

/** Options of verifying. */
export interface VerificationOptions {
  /** For how long an event may be in flight before it counts as missing, in seconds; 0 on a system at rest. */
  readonly graceSeconds?: number;
  /** Most differences of a check that are reported; all are counted. */
  readonly maxDifferences?: number;
}

/** How a check has turned out. */
export interface CheckResult {
  readonly name: string;
  /** What must hold. */
  readonly rule: string;
  readonly holds: boolean;
  /** What was compared, by name. */
  readonly figures: Readonly<Record<string, number>>;
  /** How many differences there are. */
  readonly differenceCount: number;
  /** The first of them. */
  readonly differences: readonly Readonly<Record<string, unknown>>[];
}

/** How all checks have turned out. */
export interface VerificationReport {
  readonly holds: boolean;
  readonly checks: readonly CheckResult[];
}

/**
 * Fifteen minutes: the delivery audit looks after what is unhandled from the tenth on, once a minute, and
 * by then has mended what can be mended.
 */
export const defaultGraceSeconds = 900;
const defaultMaxDifferences = 20;

/** Runs every check in one snapshot. It changes nothing and holds nobody back. */
export async function verify(
  { pool, kafka, groupId }: VerificationDependencies,
  {
    graceSeconds = defaultGraceSeconds,
    maxDifferences = defaultMaxDifferences,
  }: VerificationOptions = {},
): Promise<VerificationReport> {
  const now = Date.now();
  const progress = await readGroupProgress(kafka, groupId, eventTopics);
  return inTransaction(pool, async (connection) => {
    await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await connection.query(`
      SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`);
    const results: CheckResult[] = [];
    for (const check of checks) {
      const input = { graceSeconds, progress, now };
      results.push(await run(connection, check, input, maxDifferences));
    }
    return { holds: results.every(({ holds }) => holds), checks: results };
  });
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
    // As JSON, so that a number that is damaged beyond what JavaScript holds can be shown too.
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
