import { setImmediate } from 'node:timers/promises';
import * as fc from 'fast-check';
import { KafkaJSConnectionError } from 'kafkajs';
import type { KafkaClient } from '../../platform/kafka/client';
import {
  createKafkaSender,
  KafkaUnavailableError,
  TopicUnavailableError,
  type KafkaSender,
  type KafkaSenderOptions,
  type OutgoingMessage,
} from '../../platform/kafka/sender';
import { createLogger } from '../../platform/observability/logger';
import { until } from '../../testkit/until';
import { acknowledge, fakeBrokers, refused, type Answer, type Carried } from './fake-brokers';

const message = { topic: 'catalog-events', key: 'k', value: 'v' };

const logger = createLogger('test', 'silent');
const senders: KafkaSender[] = [];

afterEach(async () => {
  await Promise.all(senders.splice(0).map((sender) => sender.stop()));
});

async function connect(kafka: KafkaClient, options: KafkaSenderOptions = {}): Promise<KafkaSender> {
  const sender = createKafkaSender(kafka, logger, options);
  senders.push(sender);
  await until('it is connected', () => sender.isConnected());
  return sender;
}

/** Keys that go to the partitions 0 to 5 of a topic of six. */
const keyOf = ['key-1', 'key-0', 'key-2', 'key-4', 'key-14', 'key-3'] as const;

function toPartition(partition: number, value = `to ${partition}`): OutgoingMessage {
  return { topic: 'catalog-events', key: keyOf[partition]!, value };
}

test('messages that are handed over right after an acknowledgement are sent too', async () => {
  const sender = await connect(fakeBrokers().kafka);
  for (let count = 0; count < 50; count += 1) await sender.send([message]);
});

test('what arrives while a request is under way leaves with the next one', async () => {
  const { kafka, requests } = fakeBrokers();
  const sender = await connect(kafka);
  await Promise.all(Array.from({ length: 100 }, () => sender.send([message])));
  expect(requests.map(({ carried }) => carried.get(0)?.length)).toEqual([100]);
});

test('the partitions of one leader share a request, those of others have their own', async () => {
  const { kafka, requests } = fakeBrokers({ leaders: [1, 2, 3, 1, 2, 3] });
  const sender = await connect(kafka);
  await Promise.all(keyOf.map((_, partition) => sender.send([toPartition(partition)])));
  expect(requests.map(({ carried }) => [...carried.keys()].sort())).toEqual([
    [0, 3],
    [1, 4],
    [2, 5],
  ]);
});

test.each<[string, Answer]>([
  ['nothing', async () => []],
  [
    'another partition',
    async () => [{ topicName: 'catalog-events', partition: 1, baseOffset: '7' }],
  ],
  ['no offset', async () => [{ topicName: 'catalog-events', partition: 0, baseOffset: '-1' }]],
])('a message counts as not sent when the answer names %s', async (_, answer) => {
  const sender = await connect(fakeBrokers({ answer }).kafka);
  await expect(sender.send([message])).rejects.toBeInstanceOf(KafkaUnavailableError);
});

test('what the answer does not name goes again, alone and with a new producer', async () => {
  let calls = 0;
  const { kafka, requests, stored, connections } = fakeBrokers({
    leaders: [1, 1, 1, 1, 1, 1],
    // As when partition 2 has moved between two attempts of the request.
    answer: async (carried, store) => {
      calls += 1;
      return [...carried.keys()].filter((each) => calls > 1 || each !== 2).map(store);
    },
  });
  const sender = await connect(kafka);
  const sent = await Promise.all([1, 2, 3].map((each) => sender.send([toPartition(each)])));
  expect(sent).toEqual([1, 2, 3].map((partition) => [{ partition, offset: 0 }]));
  expect(requests.map(({ carried }) => [...carried.keys()])).toEqual([[1, 2, 3], [2]]);
  expect(stored.get('catalog-events/2')).toEqual(['to 2']);
  expect(connections()).toBe(2);
});

test('a missing topic fails its own messages only, and costs one request while it is known to be missing', async () => {
  const { kafka, requests } = fakeBrokers({
    answers: { 'order-events': () => Promise.reject(refused('UNKNOWN_TOPIC_OR_PARTITION')) },
  });
  const sender = await connect(kafka);
  const order = { ...message, topic: 'order-events' };
  const both = sender.send([order, message]);
  await expect(both).rejects.toMatchObject({ code: 'TOPIC_UNAVAILABLE', topic: 'order-events' });
  await expect(sender.send([order])).rejects.toBeInstanceOf(TopicUnavailableError);
  expect(requests.map(({ topic }) => topic).sort()).toEqual(['catalog-events', 'order-events']);
  await expect(sender.send([message])).resolves.toEqual([{ partition: 0, offset: 1 }]);
  expect(sender.isConnected('order-events')).toBe(false);
  expect(sender.isConnected('catalog-events')).toBe(true);
});

test('a missing topic is tried again after a while', async () => {
  let isThere = false;
  const { kafka } = fakeBrokers({
    answer: (carried, store) =>
      isThere ? acknowledge(carried, store) : Promise.reject(refused('UNKNOWN_TOPIC_OR_PARTITION')),
  });
  const sender = await connect(kafka, { topicRetryMs: 50 });
  await expect(sender.send([message])).rejects.toBeInstanceOf(TopicUnavailableError);
  isThere = true;
  await expect(until('it is sent', () => sender.send([message]))).resolves.toHaveLength(1);
});

test.each(['NOT_ENOUGH_REPLICAS', 'LEADER_NOT_AVAILABLE', 'CORRUPT_MESSAGE'])(
  'a partition that answers %s fails its own messages only',
  async (type) => {
    let isWell = false;
    const { kafka, crossed } = fakeBrokers({
      leaders: [1, 1, 1, 1, 1, 1],
      answer: (carried, store) =>
        carried.has(4) && !isWell ? Promise.reject(refused(type)) : acknowledge(carried, store),
    });
    const sender = await connect(kafka, { topicRetryMs: 50 });
    const sends = keyOf.map((_, partition) => sender.send([toPartition(partition)]));
    const settled = await Promise.allSettled(sends);
    expect(settled.map(({ status }) => status === 'fulfilled')).toEqual(
      keyOf.map((_, partition) => partition !== 4),
    );
    expect(sender.isConnected('catalog-events')).toBe(true);
    await expect(sender.send([toPartition(4)])).rejects.toBeInstanceOf(KafkaUnavailableError);
    await expect(sender.send([toPartition(5)])).resolves.toHaveLength(1);
    isWell = true;
    await expect(until('it is sent', () => sender.send([toPartition(4)]))).resolves.toHaveLength(1);
    expect(crossed.size).toBe(0);
  },
);

test('a message without a key goes to a partition that takes it', async () => {
  const { kafka } = fakeBrokers({
    leaders: [1, 1, 1, 1, 1, 1],
    answer: (carried, store) =>
      carried.has(4) ? Promise.reject(refused('NOT_ENOUGH_REPLICAS')) : acknowledge(carried, store),
  });
  const sender = await connect(kafka, { topicRetryMs: 60_000 });
  await expect(sender.send([toPartition(4)])).rejects.toBeInstanceOf(TopicUnavailableError);
  const withoutKey = { ...message, key: null };
  const sends = Array.from({ length: 30 }, () => sender.send([withoutKey]));
  await expect(Promise.all(sends)).resolves.toHaveLength(30);
});

describe('a broker that does not answer', () => {
  test('holds up its own partitions only; what waits behind its request is refused', async () => {
    let answerAll = (): void => undefined;
    const frozen = new Promise<void>((resolve) => (answerAll = resolve));
    const { kafka } = fakeBrokers({
      leaders: [1, 2, 3, 1, 2, 3],
      answer: async (carried, store) => {
        if (carried.has(1) || carried.has(4)) await frozen;
        return acknowledge(carried, store);
      },
    });
    const sender = await connect(kafka, { stalledAfterMs: 50 });
    const inFlight = sender.send([toPartition(1, 'in flight')]);
    const behind = sender.send([toPartition(4, 'first in the next')]);
    await expect(sender.send([toPartition(0)])).resolves.toHaveLength(1);
    // In the same request as the first, since both were handed over before it left.
    const next = sender.send([toPartition(4, 'behind')]);
    await expect(next).rejects.toBeInstanceOf(KafkaUnavailableError);
    await expect(sender.send([toPartition(4)])).rejects.toBeInstanceOf(KafkaUnavailableError);
    await expect(sender.send([toPartition(2)])).resolves.toHaveLength(1);
    expect(sender.isConnected('catalog-events')).toBe(true);
    answerAll();
    await expect(Promise.all([inFlight, behind])).resolves.toHaveLength(2);
    await expect(sender.send([toPartition(4)])).resolves.toEqual([{ partition: 4, offset: 1 }]);
  });

  test('makes its partitions refuse at once until a new producer is connected', async () => {
    let isAway = false;
    let reconnect = (): void => undefined;
    const { kafka, requests } = fakeBrokers({
      leaders: [1, 2, 3, 1, 2, 3],
      answer: (carried, store) =>
        isAway && (carried.has(0) || carried.has(3))
          ? Promise.reject(new KafkaJSConnectionError('reset'))
          : acknowledge(carried, store),
      connect: async () => {
        if (isAway) await new Promise<void>((resolve) => (reconnect = resolve));
      },
    });
    const sender = await connect(kafka);
    await sender.send([toPartition(0)]);
    isAway = true;
    await expect(sender.send([toPartition(0)])).rejects.toBeInstanceOf(KafkaUnavailableError);
    const before = requests.length;
    await expect(sender.send([toPartition(3)])).rejects.toBeInstanceOf(KafkaUnavailableError);
    expect(requests).toHaveLength(before);
    await expect(sender.send([toPartition(1)])).resolves.toHaveLength(1);
    isAway = false;
    reconnect();
    await expect(until('it is sent', () => sender.send([toPartition(3)]))).resolves.toHaveLength(1);
  });
});

test('a broker that takes a connection and says nothing is given up for another, and not left connected', async () => {
  let attempts = 0;
  let answer = (): void => undefined;
  const { kafka, disconnections } = fakeBrokers({
    connect: async () => {
      attempts += 1;
      if (attempts === 1) await new Promise<void>((resolve) => (answer = resolve));
    },
  });
  const sender = await connect(kafka, { connectWithinMs: 20 });
  await expect(sender.send([toPartition(0)])).resolves.toHaveLength(1);
  expect(disconnections()).toBe(0);
  answer();
  await until('the first one is disconnected', () => disconnections() === 1);
});

test('what waits for another producer is refused when the sender stops', async () => {
  let isAway = false;
  const { kafka, requests } = fakeBrokers({
    leaders: [1, 2, 2, 2, 2, 2],
    answer: (carried, store) => {
      if (carried.has(0)) return Promise.reject(new KafkaJSConnectionError('reset'));
      if (carried.size > 1) return Promise.reject(refused('NOT_ENOUGH_REPLICAS'));
      return acknowledge(carried, store);
    },
    connect: async () => {
      if (isAway) throw new KafkaJSConnectionError('refused');
    },
  });
  const sender = await connect(kafka);
  await sender.send([toPartition(1)]);
  isAway = true;
  // Another producer is wanted; its first attempt to connect has failed, the second is a pause away.
  await expect(sender.send([toPartition(0)])).rejects.toBeInstanceOf(KafkaUnavailableError);
  await setImmediate();
  const waiting = Promise.allSettled([
    sender.send([toPartition(1)]),
    sender.send([toPartition(2)]),
  ]);
  await setImmediate();
  expect(requests).toHaveLength(3);
  await sender.stop();
  expect((await waiting).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

describe('whatever the brokers answer', () => {
  type Fate = 'well' | 'unnamed' | 'refused' | 'refused but stored' | 'cut off' | 'too large';
  const fate = fc.constantFrom<Fate>(
    'well',
    'well',
    'unnamed',
    'refused',
    'refused',
    'refused but stored',
    'cut off',
    'too large',
  );

  test('each acknowledged message is where its delivery says, each partition has one request in flight, and nothing overtakes what came before it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fate, { maxLength: 40 }),
        fc.array(fc.constantFrom(1, 2), { minLength: 6, maxLength: 6 }),
        fc.array(fc.array(fc.nat(5), { minLength: 1, maxLength: 3 }), {
          minLength: 1,
          maxLength: 40,
        }),
        async (fates, leaders, calls) => {
          const pending = [...fates];
          const { kafka, stored, crossed, reused } = fakeBrokers({
            leaders,
            answer: async (carried, store) => {
              await Promise.resolve();
              return answerAs(pending.shift() ?? 'well', carried, store);
            },
          });
          const sender = createKafkaSender(kafka, logger, { topicRetryMs: 0, maxRequestBytes: 20 });
          const outcomes = await Promise.allSettled(
            calls.map((partitions, call) =>
              sender.send(
                partitions.map((partition, index) => toPartition(partition, `${call}.${index}`)),
              ),
            ),
          );
          await sender.stop();
          outcomes.forEach((outcome, call) => {
            if (outcome.status === 'rejected') return;
            outcome.value.forEach(({ partition, offset }, index) => {
              expect(stored.get(`catalog-events/${partition}`)?.[offset]).toBe(`${call}.${index}`);
            });
          });
          expect(crossed.size + reused.size).toBe(0);
          expect(overtaking(calls, outcomes)).toEqual([]);
          for (const values of stored.values()) {
            const first = [...new Set(values)].map(Number);
            expect(first).toEqual([...first].sort((one, other) => one - other));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  /** Calls to one partition that were acknowledged though an earlier one to it is to be retried. */
  function overtaking(
    calls: readonly number[][],
    outcomes: readonly PromiseSettledResult<unknown>[],
  ): number[] {
    const toRetry = new Set<number>();
    return calls.flatMap(([first, ...others], call) => {
      const outcome = outcomes[call]!;
      if (others.some((each) => each !== first)) return [];
      if (outcome.status === 'fulfilled') return toRetry.has(first!) ? [call] : [];
      if (outcome.reason instanceof KafkaUnavailableError) toRetry.add(first!);
      return [];
    });
  }

  async function answerAs(what: Fate, carried: Carried, store: Parameters<Answer>[1]) {
    const partitions = [...carried.keys()];
    switch (what) {
      case 'well':
        return partitions.map(store);
      case 'unnamed':
        return partitions.slice(1).map(store);
      case 'refused':
        throw refused('NOT_ENOUGH_REPLICAS');
      case 'refused but stored':
        partitions.slice(1).forEach(store);
        throw refused('NOT_ENOUGH_REPLICAS_AFTER_APPEND');
      case 'cut off':
        partitions.forEach(store);
        throw new KafkaJSConnectionError('reset');
      case 'too large':
        throw refused('MESSAGE_TOO_LARGE');
    }
  }
});
