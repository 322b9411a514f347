/**
 * Starts a consumer at the current end of the topics, and waits until it has handled everything.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventTopics } from '../events/topics';
import type { ProcessName, Stack } from '../testkit/stack';
import { until } from '../testkit/until';

/** The environment of a consumer in a new group that has read everything up to now. */
export async function startAtEnd({
  kafka,
}: Pick<Stack, 'kafka'>): Promise<{ readonly BRIDGE_GROUP_ID: string }> {
  const groupId = `bench-${randomUUID()}`;
  const admin = kafka.admin();
  await admin.connect();
  try {
    for (const topic of eventTopics) {
      // A topic that has just been made has no leader for a moment.
      const ends = await until(`${topic} tells its ends`, () => admin.fetchTopicOffsets(topic));
      const partitions = ends.map(({ partition, high }) => ({ partition, offset: high }));
      await admin.setOffsets({ groupId, topic, partitions });
    }
  } finally {
    await admin.disconnect();
  }
  return { BRIDGE_GROUP_ID: groupId };
}

/**
 * Starts processes as a consumer that has read everything up to now. @returns what ends all of them
 */
export async function startConsuming(
  stack: Pick<Stack, 'kafka' | 'start'>,
  processes: readonly ProcessName[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ end(): Promise<unknown> }> {
  const all = { ...(await startAtEnd(stack)), ...environment };
  const started = await Promise.all(processes.map((process) => stack.start(process, all)));
  return { end: () => Promise.all(started.map((process) => process.end())) };
}

const handledWithinMs = 15 * 60_000;

/**
 * Waits until so many events are handled. @returns how long the last one took, in seconds since
 * `since`, by the database's clock @throws when they are not handled within a quarter of an hour
 */
export async function untilHandled(
  { pool }: Pick<Stack, 'pool'>,
  count: number,
  since: Date,
): Promise<number> {
  const deadline = Date.now() + handledWithinMs;
  while (Date.now() < deadline) {
    const from = performance.now();
    const { rows } = await pool.query<{ handled: string; seconds: number }>(
      `SELECT count(*) AS handled, extract(epoch FROM max(handled_at) - $1)::float8 AS seconds
        FROM collector.event_handled`,
      [since],
    );
    const { handled, seconds } = rows[0]!;
    if (Number(handled) >= count) return seconds;
    // Polling must not distort the measurement: at most a tenth of the time.
    await sleep(Math.max(100, 9 * (performance.now() - from)));
  }
  throw new Error(`Not ${count} events were handled within ${handledWithinMs} ms.`);
}

/** The database's clock, by which `handled_at` is written. */
export async function databaseTime({ pool }: Pick<Stack, 'pool'>): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return rows[0]!.now;
}
