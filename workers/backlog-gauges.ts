/** Gauges of backlogs in PostgreSQL, and of the last verifications, polled rather than read at each scrape. */
import type { Pool } from 'pg';
import type { ProcessContext } from '../platform/process/lifecycle';
import { pause } from '../platform/process/waiting';
import { readUnbuilt } from '../projections/state';
import {
  deadLettersWaiting,
  lastVerification,
  notificationsOldestAge,
  notificationsPending,
  outboxOldestAge,
  outboxUnpublished,
  projectionsNotBuilt,
} from '../platform/observability/telemetry';

const intervalMs = 10_000;

/** Watches the unpublished events in the outbox, until the process stops. */
export function watchOutbox(context: Pick<ProcessContext, 'logger' | 'onStop'>, pool: Pool): void {
  repeatedly(context, 'the outbox gauges', async () => {
    const { rows } = await pool.query<{ events: number; age: number }>({
      name: 'backlog-outbox',
      text: `
        SELECT count(*) AS events,
          coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age
        FROM commerce.outbox WHERE published_at IS NULL`,
    });
    outboxUnpublished.set(rows[0]!.events);
    outboxOldestAge.set(rows[0]!.age);
  });
}

/** Watches the dead letters that wait for an operator, until the process stops. */
export function watchDeadLetters(
  context: Pick<ProcessContext, 'logger' | 'onStop'>,
  pool: Pool,
): void {
  repeatedly(context, 'the dead letter gauge', async () => {
    const { rows } = await pool.query<{ waiting: number }>({
      name: 'backlog-dead-letters',
      text: `SELECT count(*) AS waiting FROM collector.dead_letters WHERE status = 'parked'`,
    });
    deadLettersWaiting.set(rows[0]!.waiting);
  });
}

/** Watches the notifications that wait to be delivered, until the process stops. */
export function watchNotifications(
  context: Pick<ProcessContext, 'logger' | 'onStop'>,
  pool: Pool,
): void {
  repeatedly(context, 'the notification gauges', async () => {
    const { rows } = await pool.query<{ pending: number; age: number }>({
      name: 'backlog-notifications',
      text: `
        SELECT count(*) AS pending,
          coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age
        FROM collector.notifications WHERE status = 'pending'`,
    });
    notificationsPending.set(rows[0]!.pending);
    notificationsOldestAge.set(rows[0]!.age);
  });
}

/** Watches the projections that wait to be built, until the process stops. */
export function watchProjections(
  context: Pick<ProcessContext, 'logger' | 'onStop'>,
  pool: Pool,
): void {
  repeatedly(context, 'the projections gauge', async () => {
    projectionsNotBuilt.set((await readUnbuilt(pool)).length);
  });
}

/** Watches the outcomes of the last verifications, until the process stops. */
export function watchVerifications(
  context: Pick<ProcessContext, 'logger' | 'onStop'>,
  pool: Pool,
): void {
  repeatedly(context, 'the verification gauge', async () => {
    const { rows } = await pool.query<{ outcome: string; at: number }>({
      name: 'backlog-verifications',
      text: `
        SELECT outcome, extract(epoch FROM max(finished_at))::float8 AS at
        FROM collector.verifications WHERE outcome IS NOT NULL GROUP BY outcome`,
    });
    for (const { outcome, at } of rows) lastVerification.set({ outcome }, at);
  });
}

function repeatedly(
  { logger, onStop }: Pick<ProcessContext, 'logger' | 'onStop'>,
  what: string,
  read: () => Promise<void>,
): void {
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      // The gauge keeps its last value meanwhile; /readyz reports PostgreSQL as down.
      await read().catch((error: unknown) => logger.debug({ err: error }, `cannot update ${what}`));
      await pause(intervalMs, stopping.signal);
    }
  };
  const running = run();
  onStop(what, () => {
    stopping.abort();
    return running;
  });
}
