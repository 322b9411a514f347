/**
 * Consumption of the bridges, held or bounded by an operator. Kept in `collector.consumption_holds`, which the
 * bridges read every second: it holds for each of them, also after a restart. Needs neither Kafka nor Temporal.
 */
import type { ConsumptionScope } from '../events/consumption-scope';
import type { Queryable } from '../platform/postgres/pool';

/** Who does something, and why: kept on record. */
interface Justification {
  readonly by: string;
  readonly reason: string;
}

/** A hold. Times are RFC 3339. */
export interface ConsumptionHold extends ConsumptionScope, Justification {
  readonly since: string;
}

/** A bound on the rate of all bridges together. */
interface ConsumptionLimit extends Justification {
  readonly messagesPerSecond: number;
  readonly since: string;
}

/** The same for the messages of one topic. */
export interface TopicLimit extends ConsumptionLimit {
  readonly topic: string;
}

/** A rate to bound. */
interface RateBound {
  /** Null for everything. */
  readonly topic: string | null;
  /** Null for no bound. */
  readonly messagesPerSecond: number | null;
}

/** What is held and bounded now. */
export interface Consumption {
  /** The oldest first. */
  readonly holds: readonly ConsumptionHold[];
  /** Of everything; null while that rate is not bounded. */
  readonly limit: ConsumptionLimit | null;
  /** By topic, beside the one of everything: both hold. */
  readonly topicLimits: readonly TopicLimit[];
}

/** Reads and changes what is held. */
export interface ConsumptionOperations {
  read(): Promise<Consumption>;
  /** Holds a scope. @returns whether it was not held before; otherwise nothing has changed */
  pause(scope: ConsumptionScope, why: Justification): Promise<boolean>;
  /** Ends the hold of exactly this scope, not those within it. @returns whether it was held */
  resume(scope: ConsumptionScope, why: Justification): Promise<boolean>;
  /** Bounds the rate of exactly this, a topic or everything, in place of its bound before. */
  throttle(bound: RateBound, why: Justification): Promise<void>;
}

/** The operations on a database, as a user that may write `collector.consumption_holds`. */
export function createConsumptionOperations(database: Queryable): ConsumptionOperations {
  return {
    async read() {
      const { rows } = await database.query<Consumption>({
        name: 'consumption-read',
        text: `SELECT ${consumptionColumns}`,
      });
      return rows[0]!;
    },
    async pause({ topic, partition }, { by, reason }) {
      const { rows } = await database.query({
        name: 'consumption-pause',
        text: `
          INSERT INTO collector.consumption_holds (topic, partition, held_by, reason)
          VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING id`,
        values: [topic, partition, by, reason],
      });
      return rows.length > 0;
    },
    async resume({ topic, partition }, { by, reason }) {
      const { rows } = await database.query({
        name: 'consumption-resume',
        text: `
          UPDATE collector.consumption_holds
          SET released_by = $3, release_reason = $4, released_at = now()
          WHERE released_at IS NULL AND messages_per_second IS NULL
            AND topic IS NOT DISTINCT FROM $1 AND partition IS NOT DISTINCT FROM $2
          RETURNING id`,
        values: [topic, partition, by, reason],
      });
      return rows.length > 0;
    },
    async throttle({ topic, messagesPerSecond }, { by, reason }) {
      const statement = {
        name: 'consumption-throttle',
        text: throttleStatement,
        values: [messagesPerSecond, by, reason, topic],
      };
      try {
        await database.query(statement);
      } catch (error) {
        // Another operator was a moment faster, and is followed now.
        if ((error as { readonly code?: unknown }).code !== uniqueViolation) throw error;
        await database.query(statement);
      }
    },
  };
}

/** What is held and bounded now, as columns of a statement. */
export const consumptionColumns = `
  (SELECT coalesce(json_agg(json_build_object('topic', topic, 'partition', partition, 'by', held_by,
      'reason', reason, 'since', ${asTime('held_at')}) ORDER BY held_at, id), '[]')
    FROM collector.consumption_holds
    WHERE released_at IS NULL AND messages_per_second IS NULL) AS holds,
  (SELECT json_build_object('messagesPerSecond', messages_per_second, 'by', held_by, 'reason', reason,
      'since', ${asTime('held_at')})
    FROM collector.consumption_holds
    WHERE released_at IS NULL AND messages_per_second IS NOT NULL AND topic IS NULL) AS "limit",
  (SELECT coalesce(json_agg(json_build_object('topic', topic, 'messagesPerSecond', messages_per_second,
      'by', held_by, 'reason', reason, 'since', ${asTime('held_at')}) ORDER BY topic), '[]')
    FROM collector.consumption_holds
    WHERE released_at IS NULL AND messages_per_second IS NOT NULL AND topic IS NOT NULL) AS "topicLimits"`;

function asTime(column: string): string {
  return `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

/** SQLSTATE unique_violation. */
const uniqueViolation = '23505';

// The insert reads what the update returns, so that it comes after it: one bound of a scope at a time.
const throttleStatement = `
  WITH ended AS (
    UPDATE collector.consumption_holds
    SET released_by = $2, release_reason = $3, released_at = now()
    WHERE released_at IS NULL AND messages_per_second IS NOT NULL AND topic IS NOT DISTINCT FROM $4
    RETURNING id
  )
  INSERT INTO collector.consumption_holds (topic, messages_per_second, held_by, reason)
  SELECT $4, $1::integer, $2, $3 FROM (SELECT count(*) FROM ended) AS after_that WHERE $1::integer IS NOT NULL`;
