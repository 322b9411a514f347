/** Gauges of what waits in PostgreSQL, read every now and then rather than at each scrape. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Process } from '../platform/process/lifecycle';
import {
  deadLettersWaiting,
  outboxOldestAge,
  outboxUnpublished,
} from '../platform/observability/telemetry';

const intervalMs = 10_000;

/** Watches the events that are written and not published, until the process stops. */
export function watchOutbox(process: Pick<Process, 'logger' | 'onStop'>, pool: Pool): void {
  repeatedly(process, 'the watch over the outbox', async () => {
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

/** Watches the dead letters that wait for a person, until the process stops. */
export function watchDeadLetters(process: Pick<Process, 'logger' | 'onStop'>, pool: Pool): void {
  repeatedly(process, 'the watch over dead letters', async () => {
    const { rows } = await pool.query<{ waiting: number }>({
      name: 'backlog-dead-letters',
      text: `SELECT count(*) AS waiting FROM collector.dead_letters WHERE status = 'parked'`,
    });
    deadLettersWaiting.set(rows[0]!.waiting);
  });
}

function repeatedly(
  { logger, onStop }: Pick<Process, 'logger' | 'onStop'>,
  what: string,
  read: () => Promise<void>,
): void {
  const stopping = new AbortController();
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      // The gauge keeps its last value meanwhile; /readyz says that PostgreSQL is away.
      await read().catch((error: unknown) => logger.debug({ err: error }, `${what}: cannot look`));
      await sleep(intervalMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const running = run();
  onStop(what, () => {
    stopping.abort();
    return running;
  });
}
