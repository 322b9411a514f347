/**
 * Everything that other producers may do, at once: events of every type, repeated and shuffled,
 * with poison among them, from a client that is not the project's own.
 *
 * `FOREIGN_EVENTS=20000` makes it a long test, of as many events in each mode.
 */
import { createHash } from 'node:crypto';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { createRandom } from '../../testkit/random';
import { addUp, readAggregates } from '../../testkit/aggregates';
import {
  createForeignEvents,
  createPoison,
  sendWithForeignClient,
  toForeignMessage,
  type ForeignMessage,
  type PoisonMessage,
} from '../../testkit/foreign-messages';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const sizes = { 'per-event': 600, coalesce: 4_000 } as const;

// What one workflow an event manages on two cores at the least, and what starting and poison take.
const slowestPerSecond = 20;
const startUpMs = 90_000;

describe.each(['per-event', 'coalesce'] as const)('with BRIDGE_MODE=%s', (mode) => {
  const size = Number(process.env['FOREIGN_EVENTS'] ?? sizes[mode]);
  const timeoutMs = startUpMs + (size / slowestPerSecond) * 1_000;
  let stack: Stack;

  beforeAll(async () => {
    stack = await createStack(['bridge', 'worker:collector'], { BRIDGE_MODE: mode });
  });

  afterAll(() => stack?.stop());

  async function count(table: string): Promise<number> {
    const { rows } = await stack.pool.query<{ rows: number }>(
      `SELECT count(*) AS rows FROM collector.${table}`,
    );
    return rows[0]!.rows;
  }

  async function lag(): Promise<number> {
    const { kafka, config } = stack;
    return totalLag(await readConsumerLag(kafka, config.BRIDGE_GROUP_ID, eventTopics));
  }

  test(
    `${size} events of another client, a tenth of them twice, shuffled and with poison among them, ` +
      'add up to what they say, and the poison is parked',
    async () => {
      const random = createRandom(20_260_101);
      const events = createForeignEvents(size, random);
      const repeats = random.shuffle(events).slice(0, size / 10);
      const rounds = Math.max(Math.round(size / 100 / createPoison().length), 1);
      const poison = Array.from({ length: rounds }, createPoison).flat();
      const sent = random.shuffle<ForeignMessage>([
        ...[...events, ...repeats].map(toForeignMessage),
        ...poison,
      ]);
      const from = Date.now();
      await sendWithForeignClient(stack, sent);

      await until(
        'everything is handled or parked, and nothing is left in Kafka',
        async () =>
          (await count('event_handled')) >= size &&
          (await count('dead_letters')) >= poison.length &&
          (await lag()) === 0,
        { timeoutMs, pollMs: 500 },
      );
      const seconds = (Date.now() - from) / 1_000;
      console.info(`${mode}: ${sent.length} messages in ${seconds.toFixed(1)} s`);

      expect(await readAggregates(stack.pool)).toEqual(addUp(events));
      expect(await count('event_log')).toBe(size);
      expect(await count('event_handled')).toBe(size);
      expect(await parked()).toEqual(poison.map(fingerprint).sort());
      await expectHandledBy(mode, events.length - repeats.length);
    },
    timeoutMs + 60_000,
  );

  /** What stands in the table of dead letters, comparable with what was sent. */
  async function parked(): Promise<string[]> {
    const { rows } = await stack.pool.query<PoisonMessage & { key: Buffer | null }>(
      'SELECT topic, key, value, reason FROM collector.dead_letters',
    );
    return rows
      .map(({ key, ...row }) => fingerprint({ ...row, key: key === null ? null : String(key) }))
      .sort();
  }

  /** Every handled event names the workflow by which it is found in the Web UI. */
  async function expectHandledBy(speed: typeof mode, sentOnce: number): Promise<void> {
    const { rows } = await stack.pool.query<{ workflow_id: string; event_ids: string[] }>(`
      SELECT workflow_id, array_agg(event_id) AS event_ids
      FROM collector.event_handled GROUP BY workflow_id`);
    const single = rows.filter(
      ({ workflow_id, event_ids }) => event_ids.length === 1 && event_ids[0] === workflow_id,
    );
    const batches = rows.filter((row) => !single.includes(row));
    // A batch compares a repeat, and may come to the event first.
    if (speed === 'per-event') expect(single.length).toBeGreaterThanOrEqual(sentOnce);
    else expect(batches.length).toBeGreaterThan(0);
    for (const { workflow_id: workflowId, event_ids: eventIds } of batches) {
      expect(await inputOf(workflowId)).toEqual(expect.arrayContaining(eventIds));
    }
  }

  /** The IDs of the events that a workflow for a batch was started with. */
  async function inputOf(workflowId: string): Promise<string[]> {
    const { type, raw } = await stack.temporal.workflow.getHandle(workflowId).describe();
    expect([type, raw.workflowExecutionInfo?.taskQueue]).toEqual(['handleEventBatch', 'collector']);
    const history = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    const started = history.events?.[0]?.workflowExecutionStartedEventAttributes;
    const { loadedDataConverter } = stack.temporal.options;
    const [events] = await decodeArrayFromPayloads(loadedDataConverter, started?.input?.payloads);
    return (events as { eventId: string }[]).map(({ eventId }) => eventId);
  }
});

function fingerprint({ topic, key, value, reason }: PoisonMessage): string {
  const bytes = value === null ? 'null' : createHash('sha256').update(value).digest('hex');
  return [topic, key ?? 'no key', bytes, reason].join(' ');
}
