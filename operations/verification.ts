/**
 * Verification: checks the invariants of a live system in one database snapshot. Every check compares
 * committed states that must agree at any instant, or ignores what may still be in flight, so there are
 * no false alarms from timing.
 */
import type { Pool, PoolClient } from 'pg';
import { eventTopics } from '../events/topics';
import type { KafkaClient } from '../platform/kafka/client';
import { readGroupProgress } from '../platform/kafka/consumer-lag';
import { inTransaction } from '../platform/postgres/pool';
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

/** Runs every check in one snapshot. Read-only, and blocks nobody. */
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
