/** Bridges that come and go: who shares the partitions changes, and what is handled does not. */
import { createDispatcher, type Dispatcher, type DispatchMode } from '../../bridge/dispatcher';
import { startEventConsumer, type EventConsumer } from '../../bridge/event-consumer';
import { createFinishedWork } from '../../bridge/finished-work';
import { createInFlight } from '../../bridge/in-flight';
import { createWorkflowStarter } from '../../bridge/workflow-starter';
import { eventTopics, partitionsPerTopic } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { createKafka } from '../../platform/kafka/client';
import { createLogger } from '../../platform/observability/logger';
import { watchTopics, type TopicWatch } from '../../platform/kafka/topic-watch';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { startSteadyLoad, type SteadyLoad } from '../../testkit/steady-load';
import { unheldConsumption } from '../../testkit/unheld-consumption';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
let stack: Stack;
let topics: TopicWatch;

beforeAll(async () => {
  stack = await createStack(['worker:collector']);
  topics = watchTopics(stack.kafka, eventTopics, createLogger('test', 'silent'));
});

afterAll(async () => {
  await topics?.stop();
  await stack?.stop();
});

async function uncommitted(groupId: string): Promise<number> {
  return totalLag(await readConsumerLag(stack.kafka, groupId, eventTopics));
}

describe('a partition that is given up', () => {
  const groupId = 'hand-over';
  const consumers: EventConsumer[] = [];
  const calls: { member: string; step: 'begin' | 'aborted' | 'end'; partition: number }[] = [];
  let startsAnswer = (): void => undefined;
  const answered = new Promise<void>((resolve) => {
    startsAnswer = resolve;
  });

  afterAll(async () => {
    startsAnswer();
    await Promise.all(consumers.map((consumer) => consumer.stop()));
  });

  /** A dispatcher whose starts are under way until the test lets Temporal answer. */
  function join(member: string, starts: Promise<void>): void {
    const dispatcher: Dispatcher = {
      sliceSize: 100,
      async dispatch([first], signal) {
        const { partition } = first!;
        calls.push({ member, step: 'begin', partition });
        signal.addEventListener('abort', () => calls.push({ member, step: 'aborted', partition }));
        await starts;
        calls.push({ member, step: 'end', partition });
      },
      recordVanished: () => Promise.reject(new Error('Nothing vanishes here.')),
    };
    const logger = createLogger('test', 'silent');
    consumers.push(
      startEventConsumer(
        { kafka: stack.kafka, dispatcher, topics, logger, ...unheldConsumption },
        { groupId },
      ),
    );
  }

  test('is read by another only when the starts under way have ended', async () => {
    const everywhere = Array.from({ length: partitionsPerTopic }, (_, partition) => ({
      ...messageOf(viewed('handed-over')),
      partition,
    }));
    await produce(stack.kafka, topic, everywhere);
    join('old', answered);
    const count = (member: string, step: string): number =>
      calls.filter((call) => call.member === member && call.step === step).length;
    await until('each partition is under way', () => count('old', 'begin') === partitionsPerTopic);

    join('new', Promise.resolve());
    await until('all are to be given up', () => count('old', 'aborted') === partitionsPerTopic);
    expect(count('new', 'begin')).toBe(0);
    startsAnswer();
    await until('all is committed', async () => (await uncommitted(groupId)) === 0);
    // What the old one could no longer commit is redelivered to the new owner of the partition.
    expect(count('new', 'begin')).toBeGreaterThan(0);
    expect(takenTooEarly()).toEqual([]);
  });

  /** The partitions that the new member began while the old one had starts of them under way. */
  function takenTooEarly(): number[] {
    const underWay = new Set<number>();
    return calls.flatMap(({ member, step, partition }) => {
      if (member === 'old' && step === 'begin') underWay.add(partition);
      if (member === 'old' && step === 'end') underWay.delete(partition);
      return member === 'new' && step === 'begin' && underWay.has(partition) ? [partition] : [];
    });
  }
});

test.each(['per-event', 'coalesce'] as const)(
  '%s, four bridges join and leave ten times under load: every event is handled, each once',
  async (mode) => {
    const join = (): EventConsumer => joinAsBridge(mode);
    const bridges = Array.from({ length: 4 }, join);
    const sent: ForeignEvent[] = [];
    const load = startLoad(mode, sent);
    try {
      await untilShared();
      for (let turn = 0; turn < 10; turn += 1) {
        const leaving = bridges.shift()!;
        bridges.push(join());
        await leaving.stop();
        await untilShared();
      }
      await load.stop();
      await until(
        'all are handled and committed',
        async () => {
          const [handled, waiting] = [await countHandled(sent), await uncommitted(groupId)];
          expect({ handled, waiting }).toEqual({ handled: sent.length, waiting: 0 });
          return true;
        },
        { timeoutMs: 60_000, pollMs: 250 },
      );
      const { rows } = await stack.pool.query<{ product_id: string; view_count: number }>(
        `SELECT product_id, view_count FROM collector.product_metrics WHERE product_id LIKE 'load-${mode}-%'`,
      );
      const viewsOf = new Map(rows.map((row) => [row.product_id, row.view_count]));
      expect(viewsOf).toEqual(countBySubject(sent));
      const { rowCount: parked } = await stack.pool.query('SELECT FROM collector.dead_letters');
      expect(parked).toBe(0);
    } finally {
      await load.stop();
      await Promise.all(bridges.map((bridge) => bridge.stop()));
    }
  },
  180_000,
);

const groupId = 'commerce-collector';

/** A bridge of the project's parts, within this process: ten of them as processes would take minutes. */
function joinAsBridge(mode: DispatchMode): EventConsumer {
  const { pool, config, temporal } = stack;
  const logger = createLogger('test', 'silent');
  const finishedWork = createFinishedWork(pool);
  const dispatcher = createDispatcher(
    {
      starter: createWorkflowStarter({ client: temporal, logger }),
      inFlight: createInFlight({ finishedWork, logger }, { limit: mode === 'coalesce' ? 3 : 50 }),
      finishedWork,
      repeats: { count: () => Promise.resolve() },
      logger,
    },
    mode,
  );
  const kafka = createKafka(config, logger, { clientId: 'bridge' });
  return startEventConsumer(
    { kafka, dispatcher, topics, logger, ...unheldConsumption },
    { groupId },
  );
}

/** Resolves when four members share the partitions. */
async function untilShared(): Promise<void> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    await until('four members share the partitions', async () => {
      const { groups } = await admin.describeGroups([groupId]);
      const [group] = groups;
      return group?.state === 'Stable' && group.members.length === 4;
    });
  } finally {
    await admin.disconnect();
  }
}

/** Views of some products, a few at a time. */
function startLoad(mode: DispatchMode, sent: ForeignEvent[]): SteadyLoad {
  return startSteadyLoad(stack.kafka, topic, 250, () => {
    const events = Array.from({ length: 5 }, (_, index) => viewed(`load-${mode}-${index}`));
    return { messages: events.map(messageOf), onSent: () => sent.push(...events) };
  });
}

async function countHandled(events: readonly ForeignEvent[]): Promise<number> {
  const { rowCount } = await stack.pool.query(
    'SELECT FROM collector.event_handled WHERE event_id = ANY($1)',
    [events.map(({ id }) => id)],
  );
  return rowCount ?? 0;
}

function countBySubject(events: readonly ForeignEvent[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { subject } of events) counts.set(subject, (counts.get(subject) ?? 0) + 1);
  return counts;
}
