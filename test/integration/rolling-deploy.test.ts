/**
 * Bridges that are replaced under a steady load: how long their events wait, in the partitions that change
 * their bridge and in those that keep it. `npm test -- rolling-deploy` prints the figures of
 * docs/decisions/0026-rebalances.md.
 */
import { AssignerProtocol } from 'kafkajs';
import type { Dispatcher } from '../../bridge/dispatcher';
import { startEventConsumer, type EventConsumer } from '../../bridge/event-consumer';
import { eventTopics, partitionsPerTopic } from '../../events/topics';
import { createLogger } from '../../platform/observability/logger';
import { createKafka } from '../../platform/kafka/client';
import { watchTopics } from '../../platform/kafka/topic-watch';
import { messageOf, viewed } from '../../testkit/foreign-producer';
import { createStack, type RunningProcess, type Stack } from '../../testkit/stack';
import { startSteadyLoad, type SteadyLoad } from '../../testkit/steady-load';
import { unheldConsumption } from '../../testkit/unheld-consumption';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
const partitions = Array.from({ length: partitionsPerTopic }, (_, partition) => partition);

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['worker:collector'], { BRIDGE_MODE: 'coalesce' });
});

afterAll(async () => {
  await stack?.stop();
});

/** What a step of a deploy did. */
interface Figures {
  readonly step: string;
  /** How many partitions changed their bridge. */
  readonly moved: number;
  /** Longest wait of an event in them, in ms; undefined for none. */
  readonly movedMs: number | undefined;
  /** The same in the others. */
  readonly keptMs: number | undefined;
}

/** @param wait longest wait in each partition, in ms */
function figuresOf(
  step: string,
  wait: ReadonlyMap<number, number>,
  isMoved: (partition: number) => boolean,
): Figures {
  const longest = (chosen: readonly number[]): number | undefined =>
    chosen.length === 0 ? undefined : Math.max(...chosen.map((each) => wait.get(each) ?? 0));
  const moved = partitions.filter(isMoved);
  const kept = partitions.filter((partition) => !isMoved(partition));
  return { step, moved: moved.length, movedMs: longest(moved), keptMs: longest(kept) };
}

/** A view every `everyMs`, to each partition in turn. */
function startLoad(everyMs: number, onSent: (id: string) => void): SteadyLoad {
  return startSteadyLoad(stack.kafka, topic, everyMs, (turn) => {
    const event = viewed('deployed');
    const message = { ...messageOf(event), partition: turn % partitionsPerTopic };
    return { messages: [message], onSent: () => onSent(event.id) };
  });
}

/** The member that each partition is assigned to, once so many members share them. */
async function readOwners(groupId: string, members?: number): Promise<ReadonlyMap<number, string>> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    return await until('the partitions are shared', async () => {
      const { groups } = await admin.describeGroups([groupId]);
      const [group] = groups;
      if (group?.state !== 'Stable') return undefined;
      if (group.members.length !== (members ?? group.members.length)) return undefined;
      return new Map(
        group.members.flatMap(({ memberId, memberAssignment }) =>
          partitionsOf(memberAssignment).map((partition) => [partition, memberId] as const),
        ),
      );
    });
  } finally {
    await admin.disconnect();
  }
}

function partitionsOf(memberAssignment: Buffer): readonly number[] {
  return AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment[topic] ?? [];
}

describe('a rolling deploy of two bridges', () => {
  let sent: string[] = [];

  test('holds up the effects of no event for three seconds, whichever come first, new ones or old ones', async () => {
    const figures: Figures[] = [];
    const step = async (name: string, members: number, work: () => Promise<unknown>) => {
      figures.push(await measure(name, members, work));
    };
    const start = (): Promise<RunningProcess> => stack.start('bridge');
    await Promise.all([start(), start()]);
    const load = startLoad(100, (id) => sent.push(id));
    try {
      await step('nothing', 2, () => Promise.resolve());
      for (const old of stack.running('bridge')) {
        await step('new first: start', 3, start);
        await step('new first: end', 2, () => old.end());
      }
      for (const old of stack.running('bridge')) {
        await step('old first: end', 1, () => old.end());
        await step('old first: start', 2, start);
      }
      const old = stack.running('bridge');
      await step('at once: start two', 4, () => Promise.all([start(), start()]));
      await step('at once: end two', 2, () => Promise.all(old.map((bridge) => bridge.end())));
    } finally {
      await load.stop();
      await Promise.all(stack.running('bridge').map((bridge) => bridge.end()));
    }
    console.table(figures);
    const isLong = (ms = 0): boolean => ms >= 3_000;
    expect(figures.filter(({ movedMs, keptMs }) => isLong(movedMs) || isLong(keptMs))).toEqual([]);
  }, 240_000);

  /** Measures from the beginning of a step until its events have their effects again. */
  async function measure(
    name: string,
    members: number,
    work: () => Promise<unknown>,
  ): Promise<Figures> {
    const from = new Date();
    const before = await readOwners(stack.config.BRIDGE_GROUP_ID);
    await work();
    const after = await readOwners(stack.config.BRIDGE_GROUP_ID, members);
    await untilHandled();
    const { rows } = await stack.pool.query<{ partition: number; wait: number }>(
      `SELECT partition, max(extract(epoch FROM handled_at - occurred_at) * 1000)::int AS wait
         FROM collector.event_log JOIN collector.event_handled USING (event_id)
        WHERE occurred_at >= $1 GROUP BY partition`,
      [from],
    );
    const wait = new Map(rows.map((row) => [row.partition, row.wait]));
    return figuresOf(name, wait, (each) => before.get(each) !== after.get(each));
  }

  /** Resolves when everything is handled that has been sent up to some time after the call. */
  async function untilHandled(): Promise<void> {
    const already = sent.length;
    await until('each partition has had some', () => sent.length > already + 3 * partitions.length);
    const ids = sent;
    sent = [];
    await until('all are handled', async () => {
      const { rowCount } = await stack.pool.query(
        'SELECT FROM collector.event_handled WHERE event_id = ANY($1)',
        [ids],
      );
      return rowCount === ids.length;
    });
  }
});

describe('a member of the group that comes and goes', () => {
  const turns = 8;
  const received: { partition: number; member: string; sentAt: number; wait: number }[] = [];

  test('takes its own share of the partitions along, and holds up theirs and the others for a moment', async () => {
    const logger = createLogger('test', 'silent');
    const topics = watchTopics(stack.kafka, eventTopics, logger);
    const join = (member: string): EventConsumer => {
      const kafka = createKafka(stack.config, logger, { clientId: member });
      const dispatcher = createRecorder(member);
      return startEventConsumer(
        { kafka, dispatcher, topics, logger, ...unheldConsumption },
        { groupId: 'comings' },
      );
    };
    const staying = ['one', 'other'].map(join);
    const load = startLoad(10, () => undefined);
    const figures: Figures[] = [];
    try {
      await untilReceived('all have joined', () => staying.every((each) => each.hasJoined()));
      for (let turn = 0; turn < turns; turn += 1) {
        let visitor: EventConsumer | undefined;
        figures.push(
          await measure('comes', async () => {
            visitor = join(`visitor ${turn}`);
            await until('it has joined', () => visitor?.hasJoined());
          }),
        );
        figures.push(await measure('goes', () => visitor!.stop()));
      }
    } finally {
      await load.stop();
      await Promise.all(staying.map((each) => each.stop()));
      await topics.stop();
    }
    console.table(figures);
    expect(figures.map(({ moved }) => moved)).toEqual(Array(2 * turns).fill(partitions.length / 3));
    for (const name of ['comes', 'goes']) {
      const steps = figures.filter(({ step }) => step === name);
      // The median: one of them may meet with whatever else the machine is doing.
      expect(median(steps.map(({ movedMs }) => movedMs))).toBeLessThan(600);
      expect(median(steps.map(({ keptMs }) => keptMs))).toBeLessThan(600);
    }
  }, 120_000);

  /** A dispatcher that records how long each event has waited for it. */
  function createRecorder(member: string): Dispatcher {
    return {
      sliceSize: 100,
      async dispatch(slice) {
        for (const { partition, entry } of slice) {
          if (entry.kind !== 'record') throw new Error('Everything here can be read.');
          const { time } = JSON.parse(entry.value!.toString()) as { time: string };
          const sentAt = Date.parse(time);
          received.push({ partition, member, sentAt, wait: Date.now() - sentAt });
        }
      },
      recordVanished: () => Promise.reject(new Error('Nothing vanishes here.')),
    };
  }

  async function measure(name: string, work: () => Promise<unknown>): Promise<Figures> {
    const from = Date.now();
    const before = currentOwners();
    await work();
    await untilReceived('each partition is read again');
    const after = currentOwners();
    const wait = new Map<number, number>();
    for (const each of received.filter(({ sentAt }) => sentAt >= from)) {
      wait.set(each.partition, Math.max(each.wait, wait.get(each.partition) ?? 0));
    }
    return figuresOf(name, wait, (each) => before.get(each) !== after.get(each));
  }

  /** Waits until a condition holds, and then for an event of that time in each partition. */
  async function untilReceived(what: string, condition = (): boolean => true): Promise<void> {
    await until(what, condition);
    const from = Date.now();
    await until(what, () =>
      partitions.every((partition) =>
        received.some((each) => each.partition === partition && each.sentAt > from),
      ),
    );
  }

  function currentOwners(): ReadonlyMap<number, string> {
    return new Map(received.map(({ partition, member }) => [partition, member]));
  }
});

test('a bridge shares the partitions with one of a version that only knows them in turn', async () => {
  const groupId = 'two-versions';
  const old = stack.kafka.consumer({ groupId, heartbeatInterval: 500, maxWaitTimeInMs: 100 });
  await old.connect();
  await old.subscribe({ topics: [...eventTopics] });
  await old.run({ eachMessage: () => Promise.resolve() });
  const logger = createLogger('test', 'silent');
  const topics = watchTopics(stack.kafka, eventTopics, logger);
  const dispatcher: Dispatcher = {
    sliceSize: 100,
    dispatch: () => Promise.resolve(),
    recordVanished: () => Promise.reject(new Error('Nothing vanishes here.')),
  };
  const bridge = startEventConsumer(
    { kafka: stack.kafka, dispatcher, topics, logger, ...unheldConsumption },
    { groupId },
  );
  try {
    const owners = await readOwners(groupId, 2);
    expect([...owners.keys()].sort()).toEqual(partitions);
    const first = owners.get(0);
    const ofFirst = [...owners.values()].filter((memberId) => memberId === first);
    expect(ofFirst).toHaveLength(partitions.length / 2);
  } finally {
    await Promise.all([bridge.stop(), old.disconnect()]);
    await topics.stop();
  }
});

function median(values: readonly (number | undefined)[]): number {
  const sorted = values.filter((value) => value !== undefined).sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)]!;
}
