/** The bridge's heartbeat in PostgreSQL: that it runs, how, and how full its slots are, for whoever watches. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from '../platform/observability/logger';
import type { Queryable } from '../platform/postgres/pool';
import { pause, withTimeout } from '../platform/process/waiting';
import type { DispatchMode } from './dispatcher';
import { readBridgeState } from './readiness';

/** What a heartbeat needs and tells. */
export interface HeartbeatDependencies {
  readonly database: Queryable;
  readonly logger: Logger;
  readonly mode: DispatchMode;
  /** Since when the consumer lag grows; undefined while it does not. */
  readonly lagGrowsSince: () => Date | undefined;
}

/** A running heartbeat. */
export interface Heartbeat {
  /** Ends it, and takes the bridge out of the table, for which it waits a second at most. */
  stop(): Promise<void>;
}

/** Readers take a bridge for gone ten seconds after its last one. */
const beatEveryMs = 2_000;
const takeOutWithinMs = 1_000;

/** Starts the heartbeat. One that fails is followed by the next. */
export function startHeartbeat(dependencies: HeartbeatDependencies): Heartbeat {
  const { database, logger } = dependencies;
  const id = `${hostname()}/${process.pid}/${randomUUID().slice(0, 8)}`;
  const stopping = new AbortController();
  const beating = beatUntil(stopping.signal, id, dependencies);
  return {
    async stop() {
      stopping.abort();
      await withTimeout(takeOut(database, id, beating), takeOutWithinMs).catch((error: unknown) =>
        logger.debug({ err: error }, 'cannot delete the heartbeat; it is ignored once it is old'),
      );
    },
  };
}

async function beatUntil(
  signal: AbortSignal,
  id: string,
  { database, logger, mode, lagGrowsSince }: HeartbeatDependencies,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const { inFlight, slots, pausedBy } = (await readBridgeState()).bridge;
      await database.query({
        name: 'bridge-heartbeat',
        text: beatStatement,
        values: [id, mode, inFlight, slots, pausedBy, lagGrowsSince() ?? null],
      });
    } catch (error) {
      logger.debug({ err: error }, 'cannot write the heartbeat; retrying');
    }
    await pause(beatEveryMs, signal);
  }
}

async function takeOut(database: Queryable, id: string, beating: Promise<void>): Promise<void> {
  // One that is under way would put it back.
  await beating;
  await database.query({
    text: 'DELETE FROM collector.bridges WHERE bridge_id = $1',
    values: [id],
  });
}

// Those of bridges that were killed are nobody else's to delete.
const beatStatement = `
  WITH gone AS (
    DELETE FROM collector.bridges WHERE seen_at < now() - interval '10 minutes' AND bridge_id <> $1
  )
  INSERT INTO collector.bridges
    (bridge_id, mode, in_flight, slots, paused_by, lag_grows_since, seen_at)
  VALUES ($1, $2, $3, $4, $5, $6, now())
  ON CONFLICT (bridge_id) DO UPDATE SET mode = excluded.mode, in_flight = excluded.in_flight,
    slots = excluded.slots, paused_by = excluded.paused_by,
    lag_grows_since = excluded.lag_grows_since, seen_at = excluded.seen_at`;
