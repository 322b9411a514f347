/**
 * What may be wrong with a log as a whole, whoever wrote to it: transactions that were aborted or are
 * open, bytes that broke on the disk, offsets that were deleted before they were read, topics that were
 * made anew. Whatever it is, a healthy event behind it is handled, and nothing is left to be read.
 */
import { randomUUID } from 'node:crypto';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Admin, Message, Producer, Transaction } from 'kafkajs';
import { deadLetterTopicOf, eventTopics } from '../../events/topics';
import { migrateTopics } from '../../migrations/migrate';
import { readConsumerLag, totalLag, type PartitionLag } from '../../platform/kafka/consumer-lag';
import { createLogger } from '../../platform/observability/logger';
import {
  foreignEvent,
  messageOf,
  produce,
  viewed,
  type ForeignEvent,
} from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['bridge', 'worker:collector']);
});

afterAll(() => stack?.stop());

// A test that failed may have left none.
beforeEach(async () => {
  if (stack.running('bridge').length === 0) await stack.start('bridge');
});

/** Events that are logged, of those asked for. */
async function logged(events: readonly ForeignEvent[]): Promise<string[]> {
  const { rows } = await stack.pool.query<{ event_id: string }>(
    'SELECT event_id FROM collector.event_log WHERE event_id = ANY ($1)',
    [events.map(({ id }) => id)],
  );
  return rows.map(({ event_id }) => event_id);
}

async function untilHandled(events: readonly ForeignEvent[]): Promise<void> {
  await until('they are handled', async () => {
    const { rows } = await stack.pool.query<{ handled: number }>(
      'SELECT count(*)::int AS handled FROM collector.event_handled WHERE event_id = ANY ($1)',
      [events.map(({ id }) => id)],
    );
    return rows[0]?.handled === events.length;
  });
}

async function lagOf(partition?: number): Promise<PartitionLag[]> {
  const lag = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics);
  if (partition === undefined) return lag;
  return lag.filter((each) => each.topic === topic && each.partition === partition);
}

async function untilNothingIsLeft(): Promise<void> {
  await until('nothing is left to be read', async () => totalLag(await lagOf()) === 0);
}

/** Sends a healthy event, and waits until it is handled and nothing is left in any partition. */
async function expectHealthyBehind(partition: number): Promise<void> {
  const healthy = viewed('behind');
  await send([healthy], partition);
  await untilHandled([healthy]);
  await untilNothingIsLeft();
}

async function send(events: readonly ForeignEvent[], partition: number): Promise<void> {
  await produce(
    stack.kafka,
    topic,
    events.map((event) => ({ ...messageOf(event), partition })),
  );
}

async function withAdmin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = stack.kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

interface Transactor {
  readonly producer: Producer;
  readonly transaction: Transaction;
}

/** A transaction of a producer of its own that has sent these events, and is open. */
async function begin(events: readonly ForeignEvent[], partition: number): Promise<Transactor> {
  const producer = stack.kafka.producer({
    transactionalId: randomUUID(),
    maxInFlightRequests: 1,
    idempotent: true,
  });
  await producer.connect();
  const transaction = await producer.transaction();
  // Each event in a batch of its own, as they come when they are sent one after the other.
  for (const event of events) {
    await transaction.send({ topic, messages: [{ ...messageOf(event), partition }] });
  }
  return { producer, transaction };
}

async function end({ producer, transaction }: Transactor, how: 'commit' | 'abort'): Promise<void> {
  await transaction[how]();
  await producer.disconnect();
}

describe('transactions of other producers', () => {
  test('an aborted one as the last of a partition is passed, and none of its events is logged', async () => {
    const aborted = [viewed('aborted'), viewed('aborted'), viewed('aborted')];
    await end(await begin(aborted, 0), 'abort');
    await untilNothingIsLeft();
    await expectHealthyBehind(0);
    expect(await logged(aborted)).toEqual([]);
  });

  test.each([
    ['both abort, the later one first', 'abort'],
    ['the later one aborts, and then the earlier one commits', 'commit'],
  ] as const)('of two that overlap: %s', async (_, howTheEarlierEnds) => {
    const ofEarlier = [viewed('earlier'), viewed('earlier')];
    const ofLater = [viewed('later'), viewed('later')];
    const earlier = await begin(ofEarlier, 1);
    const later = await begin(ofLater, 1);
    await end(later, 'abort');
    await end(earlier, howTheEarlierEnds);

    await expectHealthyBehind(1);
    const expected = howTheEarlierEnds === 'commit' ? ofEarlier.map(({ id }) => id) : [];
    expect((await logged([...ofEarlier, ...ofLater])).sort()).toEqual(expected.sort());
  });

  test('an open one holds back its own partition only, and what it commits is handled', async () => {
    const held = [viewed('held')];
    const heldBehind = [viewed('held')];
    const transactor = await begin(held, 2);
    await send(heldBehind, 2);
    const elsewhere = viewed('elsewhere');
    await send([elsewhere], 3);
    await untilHandled([elsewhere]);
    expect(await logged([...held, ...heldBehind])).toEqual([]);

    await end(transactor, 'commit');
    await untilHandled([...held, ...heldBehind]);
    await expectHealthyBehind(2);
  });
});

/** The file that holds a partition's first segment. */
async function segmentOf(partition: number): Promise<string> {
  const kafka = path.join(stack.cluster.directory, 'kafka');
  const files = await readdir(kafka, { recursive: true });
  const wanted = path.join(`${topic}-${partition}`, '00000000000000000000.log');
  return path.join(
    kafka,
    files.find((file) => file.endsWith(wanted))!,
  );
}

/** Turns the bits of one byte of what the file holds of `needle`. */
async function breakIn(file: string, needle: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    const at = (await handle.readFile()).indexOf(needle);
    expect(at).toBeGreaterThan(0);
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    await handle.write(Buffer.from([byte[0]! ^ 0xff]), 0, 1, at);
  } finally {
    await handle.close();
  }
}

test('a batch that broke on the disk is parked by its offsets, and what is behind it is handled', async () => {
  const broken = [viewed('broken'), viewed('broken'), viewed('broken')];
  const behind = viewed('behind');
  const [bridge] = stack.running('bridge');
  await bridge!.end();
  const [{ end: first }] = (await lagOf(4)) as [PartitionLag];
  await send(broken, 4);
  await send([behind], 4);
  // Stopped properly, or the broker would look through the log as it starts and cut it there.
  await stack.cluster.stop('kafka');
  await breakIn(await segmentOf(4), broken[1]!.id);
  await stack.cluster.start('kafka');
  await stack.start('bridge');

  await untilHandled([behind]);
  await untilNothingIsLeft();
  expect(await logged(broken)).toEqual([]);
  const parked = await until('it is parked', async () => {
    const { rows } = await stack.pool.query<{ offset: number; reason: string }>(
      `SELECT "offset", reason FROM collector.dead_letters
        WHERE topic = $1 AND partition = 4`,
      [topic],
    );
    return rows.length > 0 && rows;
  });
  expect(parked).toEqual([{ offset: first, reason: 'BROKEN_BATCH' }]);
}, 120_000);

describe('offsets that are deleted before they are read', () => {
  async function deleteAll(partition: number): Promise<void> {
    await withAdmin(async (admin) => {
      // kafkajs deletes nothing in topics that it has not heard of.
      const ends = await admin.fetchTopicOffsets(topic);
      const { high: offset } = ends.find((each) => each.partition === partition)!;
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset }] });
    });
  }

  async function hasNoMembers(admin: Admin): Promise<boolean> {
    const { groups } = await admin.describeGroups([stack.config.BRIDGE_GROUP_ID]);
    return groups[0]?.members.length === 0;
  }

  function warnings(): string {
    return stack
      .running('bridge')
      .flatMap((each) => each.output().split('\n'))
      .filter((line) => line.includes('vanished'))
      .join('\n');
  }

  test('while the bridge is stopped are reported, and it continues behind them', async () => {
    const partition = 5;
    // A group that has read nothing of a partition yet has lost nothing of it.
    await expectHealthyBehind(partition);
    const [{ end: from }] = (await lagOf(partition)) as [PartitionLag];
    await stack.running('bridge')[0]!.end();
    await send([viewed('lost'), viewed('lost')], partition);
    await deleteAll(partition);
    await stack.start('bridge');

    await expectHealthyBehind(partition);
    const range = `"partition":${partition},"from":${from},"to":${from + 1},"reason":"RETENTION"`;
    expect(warnings()).toContain(range);
  });

  test('while it is frozen are reported, also when nothing follows them', async () => {
    const partition = 0;
    await expectHealthyBehind(partition);
    const [{ end: from }] = (await lagOf(partition)) as [PartitionLag];
    const [bridge] = stack.running('bridge');
    bridge!.signal('SIGSTOP');
    try {
      // Until then a fetch that waits at the broker would still be answered with what comes.
      await until('the group has given it up', () => withAdmin(hasNoMembers));
      await send([viewed('lost')], partition);
      await deleteAll(partition);
    } finally {
      bridge!.signal('SIGCONT');
    }

    const range = `"partition":${partition},"from":${from},"to":${from},"reason":"RETENTION"`;
    await until('it is told', () => warnings().includes(range));
    await untilNothingIsLeft();
    await expectHealthyBehind(partition);
  });
});

describe('topics that are deleted and recreated', () => {
  const everyPartition = [0, 1, 2, 3, 4, 5];

  async function makeAnew(): Promise<void> {
    const ours = eventTopics.flatMap((each) => [each, deadLetterTopicOf(each)]);
    await withAdmin(async (admin) => {
      await admin.deleteTopics({ topics: ours });
      await until('they are gone', async () => {
        const left = await admin.listTopics();
        return !ours.some((each) => left.includes(each));
      });
    });
    await migrateTopics(stack.kafka, createLogger('test', 'fatal'));
  }

  /** An event on each partition of both topics, as the first that the topic has ever had. */
  async function expectAllHandled(): Promise<void> {
    const views = everyPartition.map(() => viewed('anew'));
    const payments = everyPartition.map(() => {
      const orderId = randomUUID();
      return foreignEvent('PaymentFailed', orderId, { orderId, amount: 1, reason: 'declined' });
    });
    const onEach = (events: readonly ForeignEvent[]) =>
      events.map((event, partition) => ({ ...messageOf(event), partition }));
    await sendOnceLed('catalog-events', onEach(views));
    await sendOnceLed('order-events', onEach(payments));
    await untilHandled([...views, ...payments]);
    await untilNothingIsLeft();
  }

  // A new topic exists before its partitions have leaders. An extra copy is harmless.
  async function sendOnceLed(to: string, messages: Message[]): Promise<void> {
    await until(`${to} takes them`, () => produce(stack.kafka, to, messages));
  }

  test('while the bridge runs are read from their start', async () => {
    await expectAllHandled();
    await makeAnew();
    await expectAllHandled();
  }, 120_000);

  test('while it is stopped are read from their start', async () => {
    await expectAllHandled();
    await stack.running('bridge')[0]!.end();
    await makeAnew();
    await stack.start('bridge');
    await expectAllHandled();
  }, 120_000);
});
