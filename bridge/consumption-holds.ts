/**
 * What operators hold or bound (`collector.consumption_holds`), read every second. While PostgreSQL is
 * unavailable, what was last known holds.
 */
import { isDeepStrictEqual } from 'node:util';
import { isCovered, type ConsumptionScope } from '../events/consumption-scope';
import type { Logger } from '../platform/observability/logger';
import { bridgePaused } from '../platform/observability/telemetry';
import type { Queryable } from '../platform/postgres/pool';
import { orAborted, pause, withTimeout } from '../platform/process/waiting';

/** A hold, and who has it why. */
interface ConsumptionHold extends ConsumptionScope {
  readonly by: string;
  readonly reason: string;
}

/** A partition of a topic. */
interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** What is held now. */
export interface ConsumptionHolds {
  /** Resolves once it has been read for the first time: nothing may be consumed before. @throws when aborted */
  untilKnown(signal: AbortSignal): Promise<void>;
  current(): readonly ConsumptionHold[];
  isHeld(place: Place): boolean;
  /**
   * Messages per second that this bridge may take of a topic, or of everything (null); undefined while that rate is
   * not bounded. Both bounds hold.
   */
  limit(topic: string | null): number | undefined;
  /** Calls back with each change of a hold or a bound, until `signal` is aborted. */
  onChange(listener: () => void, signal: AbortSignal): void;
  /** Stops reading; what is known still holds. */
  stop(): Promise<void>;
}

/** What reading the holds needs. */
export interface ConsumptionHoldsDependencies {
  /** With the right to read `collector.consumption_holds` and `collector.bridges`. */
  readonly database: Queryable;
  readonly logger: Logger;
}

const readEveryMs = 1_000;
const readWithinMs = 5_000;

/** Starts reading what is held. */
export function watchConsumptionHolds(
  { database, logger }: ConsumptionHoldsDependencies,
  { intervalMs = readEveryMs }: { readonly intervalMs?: number } = {},
): ConsumptionHolds {
  let held: readonly ConsumptionHold[] = [];
  let limits: readonly Limit[] = [];
  const listeners = new Set<() => void>();
  const stopping = new AbortController();
  let setKnown: () => void = () => undefined;
  const known = new Promise<void>((resolve) => {
    setKnown = resolve;
  });
  const take = (now: HoldsRow): void => {
    const { holds } = now;
    const haveChanged = !isDeepStrictEqual(holds, held);
    if (haveChanged) logger.warn({ before: held, now: holds }, 'what operators hold has changed');
    const areBoundsOthers = !isDeepStrictEqual(now.limits, limits);
    if (areBoundsOthers) {
      logger.warn({ limits: now.limits }, 'the bounds on the rate of this bridge have changed');
    }
    held = holds;
    limits = now.limits;
    bridgePaused.set({ reason: 'held' }, holds.length > 0 ? 1 : 0);
    if (haveChanged || areBoundsOthers) listeners.forEach((listener) => listener());
    setKnown();
  };
  bridgePaused.set({ reason: 'held' }, 0);
  const reading = readUntil(stopping.signal, { database, logger, intervalMs, take });
  return {
    untilKnown: (signal) => orAborted(known, signal),
    current: () => held,
    isHeld: (place) => isCovered(held, place),
    limit: (topic) => limits.find((limit) => limit.topic === topic)?.messagesPerSecond,
    onChange(listener, signal) {
      listeners.add(listener);
      signal.addEventListener('abort', () => listeners.delete(listener), { once: true });
    },
    async stop() {
      stopping.abort();
      await reading;
    },
  };
}

/** Whether a row of `collector.replays` is of a partition that is held. */
export const isReplayHeld = `EXISTS (
  SELECT FROM collector.consumption_holds AS hold
  WHERE hold.released_at IS NULL AND hold.messages_per_second IS NULL
    AND (hold.topic IS NULL OR hold.topic = replays.topic)
    AND (hold.partition IS NULL OR hold.partition = replays.partition))`;

/** The part of a bound that this bridge may take. */
interface Limit {
  /** Null for everything. */
  readonly topic: string | null;
  readonly messagesPerSecond: number;
}

interface HoldsRow {
  readonly holds: readonly ConsumptionHold[];
  readonly limits: readonly Limit[];
}

interface ReadingContext extends ConsumptionHoldsDependencies {
  readonly intervalMs: number;
  readonly take: (row: HoldsRow) => void;
}

async function readUntil(
  signal: AbortSignal,
  { database, logger, intervalMs, take }: ReadingContext,
): Promise<void> {
  let toldOf: string | undefined;
  while (!signal.aborted) {
    try {
      const reading = database.query<HoldsRow>({ name: 'consumption-holds', text: holdsStatement });
      const { rows } = await withTimeout(reading, readWithinMs, { signal });
      take(rows[0]!);
      if (toldOf !== undefined) logger.info('what operators hold can be read again');
      toldOf = undefined;
    } catch (error) {
      if (signal.aborted) return;
      const { code = 'UNKNOWN' } = error as { readonly code?: string };
      // Once for each outage and cause, not each second.
      if (code !== toldOf) logger.warn({ err: error }, unreadable(code));
      toldOf = code;
    }
    await pause(intervalMs, signal);
  }
}

// A bound is of all bridges together. Each takes an equal part of it, so that they need not agree on
// anything: never more than the bound, and less where the partitions with messages belong to a few of them.
// Bridges are counted by the last minute before the newest heartbeat: when none can be written any more, as on a
// database that takes no writes, they all still count.
const holdsStatement = `
  SELECT
    (SELECT coalesce(json_agg(json_build_object('topic', topic, 'partition', partition, 'by', held_by,
        'reason', reason) ORDER BY id), '[]')
      FROM collector.consumption_holds
      WHERE released_at IS NULL AND messages_per_second IS NULL) AS holds,
    (SELECT coalesce(json_agg(json_build_object('topic', topic, 'messagesPerSecond',
        messages_per_second::float8 / greatest(1, running.bridges)) ORDER BY id), '[]')
      FROM collector.consumption_holds, (
        SELECT count(*) AS bridges FROM collector.bridges
        WHERE seen_at > (SELECT max(seen_at) FROM collector.bridges) - interval '1 minute') AS running
      WHERE released_at IS NULL AND messages_per_second IS NOT NULL) AS limits`;

// SQLSTATE undefined_table and insufficient_privilege.
function unreadable(code: string): string {
  const remedy = code === '42P01' || code === '42501' ? ' Run `npm run migrate`.' : '';
  return `cannot read what operators hold; what was last known holds, and nothing is consumed before.${remedy}`;
}
