/** Events that come again: they are counted, at least once, whoever finds out; those that came once leave no row. */
import { randomUUID } from 'node:crypto';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import type { Coordinates, ReceivedEvent } from '../../events/received';
import type { EventJourney } from '../../operations/event-journey';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { runOpsHere } from '../../testkit/run-ops';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'worker:collector', 'bridge']);
}, 120_000);

afterAll(() => stack?.stop());

interface Repeats {
  readonly count: number;
  readonly last: Coordinates;
}

async function repeatsOf(eventId: string): Promise<Repeats | undefined> {
  const { rows } = await stack.pool.query<Repeats>(
    `SELECT count, jsonb_build_object('topic', topic, 'partition', partition, 'offset', "offset") AS last
     FROM collector.event_repeats WHERE event_id = $1`,
    [eventId],
  );
  return rows[0];
}

describe('a run of a workflow', () => {
  const place = { topic, partition: 0 };
  const at = (offset: number): Coordinates => ({ ...place, offset });

  function delivered(event: ForeignEvent, offset: number, value = JSON.stringify(event)) {
    const received: ReceivedEvent = {
      ...at(offset),
      ...{ eventId: event.id, key: event.subject, value, headers: [], producedAt: 0 },
    };
    return received;
  }

  interface Run {
    readonly workflowId?: string;
    readonly runStartedAt?: number;
  }

  /** Logs and applies, as a workflow does. */
  async function run(
    events: readonly ReceivedEvent[],
    { workflowId = randomUUID(), runStartedAt = Date.now() }: Run = {},
  ) {
    const { pool } = stack;
    const logged = await createAuditLogActivities({ pool }).writeAuditLog(events);
    const { eventIds, elsewhere = [] } = logged;
    const update = { eventIds, elsewhere, workflowId, runStartedAt };
    return createMetricsActivities({ pool }).updateMetrics(update);
  }

  test('counts nothing for an event that came once, however often it is tried', async () => {
    const event = viewed('once');
    const only = { workflowId: event.id, runStartedAt: Date.now() };
    for (const _ of [1, 2, 3]) {
      expect(await run([delivered(event, 1)], only)).toEqual({ due: [], repeats: 0 });
    }
    expect(await repeatsOf(event.id)).toBeUndefined();
  });

  test('counts what another run has handled, with the place where it stood', async () => {
    const event = viewed('again');
    await run([delivered(event, 1)], { workflowId: event.id });
    expect(await run([delivered(event, 5)])).toEqual({ due: [], repeats: 1 });
    expect(await repeatsOf(event.id)).toEqual({ count: 1, last: at(5) });

    await run([delivered(event, 9), delivered(viewed('beside'), 2)]);
    expect(await repeatsOf(event.id)).toEqual({ count: 2, last: at(9) });
  });

  test('counts one of two deliveries that it has handled together', async () => {
    const event = viewed('twice');
    const spaced = JSON.stringify(event, undefined, 1);
    const both = [delivered(event, 1), delivered(event, 2, spaced)];
    const only = { workflowId: randomUUID(), runStartedAt: Date.now() };
    expect(await run(both, only)).toMatchObject({ repeats: 1 });
    expect(await repeatsOf(event.id)).toEqual({ count: 1, last: at(2) });
    // It was killed before that was known, and is counted again.
    expect(await run(both, only)).toMatchObject({ repeats: 1 });
    expect(await repeatsOf(event.id)).toEqual({ count: 2, last: at(2) });
  });

  test('counts an event of the same place and ID of which Temporal has forgotten the run before', async () => {
    const event = viewed('forgotten');
    await run([delivered(event, 3)], { workflowId: event.id });
    const later = { workflowId: event.id, runStartedAt: Date.now() + 3_600_000 };
    expect(await run([delivered(event, 3)], later)).toMatchObject({ repeats: 1 });
    expect(await repeatsOf(event.id)).toEqual({ count: 1, last: at(3) });
  });

  test('counts nothing for a redriven event that was logged and not handled', async () => {
    const event = viewed('redriven');
    await createAuditLogActivities(stack).writeAuditLog([delivered(event, 1)]);
    expect(await run([delivered(event, 7)])).toMatchObject({ repeats: 0 });
    expect(await repeatsOf(event.id)).toBeUndefined();
  });

  test('side by side with others of the same events counts all but the one that handled each', async () => {
    const events = Array.from({ length: 20 }, () => viewed('side-by-side'));
    const runs = [0, 1, 2, 3].map((copy) =>
      run(events.map((event, index) => delivered(event, 100 * copy + index))),
    );
    const repeats = (await Promise.all(runs)).map((each) => (each as { repeats: number }).repeats);
    expect(repeats.reduce((sum, each) => sum + each, 0)).toBe(60);
    for (const { id } of events) expect(await repeatsOf(id)).toMatchObject({ count: 3 });
  });

  test('of an earlier version reads the notifications alone', async () => {
    const event = viewed('earlier');
    const { pool } = stack;
    await createAuditLogActivities({ pool }).writeAuditLog([delivered(event, 1)]);
    const update = { eventIds: [event.id], workflowId: event.id };
    expect(await createMetricsActivities({ pool }).updateMetrics(update)).toEqual([]);
  });
});

test('an event that was sent again and read again tells it, and counts once', async () => {
  const event = viewed('a-lamp');
  const journey = async (): Promise<EventJourney> =>
    (await stack.call('GET', `/v1/events/${event.id}`)).body as EventJourney;
  const untilRepeated = (count: number) =>
    until(
      `it has come again ${count} times`,
      async () => {
        const told = await journey();
        return (told.repeats?.count ?? 0) >= count ? told : undefined;
      },
      { timeoutMs: 60_000 },
    );
  await produce(stack.kafka, topic, [messageOf(event)]);
  const once = await until('it is handled', async () => {
    const told = await journey();
    return told.state === 'handled' ? told : undefined;
  });
  expect(once.repeats).toBeNull();
  const workflow = stack.temporal.workflow.getHandle(event.id);
  expect(await workflow.result()).toEqual({ outcome: 'handled', evicted: [], notified: [] });

  await produce(stack.kafka, topic, [messageOf(event)]);
  const { logged, repeats } = await untilRepeated(1);
  expect(repeats).toMatchObject({
    count: 1,
    last: { topic, partition: logged?.partition, offset: logged!.offset + 1 },
  });

  // Both messages again: the one that is logged, which the bridge leaves out, and the other.
  const { partition, offset } = logged!;
  const range = { topic, partition, from: offset, to: offset + 1 };
  expect(await stack.call('POST', '/v1/replays', { body: range })).toMatchObject({ status: 202 });
  await untilRepeated(3);

  const { stdout } = await runOpsHere(stack, 'events', 'show', event.id);
  expect(stdout).toMatch(/repeated .* 3 times since .*, and changed nothing; last at/);
  const { rows } = await stack.pool.query(
    `SELECT view_count FROM collector.product_metrics WHERE product_id = 'a-lamp'`,
  );
  expect(rows).toEqual([{ view_count: 1 }]);
}, 180_000);
