import { watchLag } from '../../bridge/lag-watch';
import { patienceMs } from '../../bridge/standstill';
import type { GroupProgress, PartitionLag } from '../../platform/kafka/consumer-lag';
import { createLogger } from '../../platform/observability/logger';
import {
  consumerLag,
  consumerStalled,
  oldestUncommittedAge,
  partitionHeldBack,
} from '../../platform/observability/telemetry';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');

function lagOf(partition: number, lag: number): PartitionLag {
  return { topic: 'catalog-events', partition, committed: 0, start: 0, end: lag, lag };
}

function progressOf(...partitions: PartitionLag[]): GroupProgress {
  return { partitions, unreadable: [] };
}

async function shown(): Promise<Record<string, number>> {
  const { values } = await consumerLag.get();
  return Object.fromEntries(
    values.map(({ labels, value }) => [`${labels.topic}/${labels.partition}`, value]),
  );
}

test('the metrics have the lag of each partition, and none while it cannot be read', async () => {
  let read: () => Promise<GroupProgress> = async () => progressOf(lagOf(0, 7), lagOf(1, 0));
  const watch = watchLag(() => read(), logger, { intervalMs: 1 });
  try {
    await until('it is read', async () => Object.keys(await shown()).length === 2);
    expect(await shown()).toEqual({ 'catalog-events/0': 7, 'catalog-events/1': 0 });

    read = () => Promise.reject(new Error('Kafka is away'));
    await until('it is gone', async () => Object.keys(await shown()).length === 0);
    read = async () => progressOf(lagOf(0, 3));
    await until('it is read again', async () => (await shown())['catalog-events/0'] === 3);
  } finally {
    await watch.stop();
  }
});

test('a watch is stopped at once, however rarely it looks', async () => {
  let looks = 0;
  const read = async (): Promise<GroupProgress> => {
    looks += 1;
    return progressOf();
  };
  const watch = watchLag(read, logger, { intervalMs: 3_600_000 });
  await until('it has looked', () => looks === 1);
  await watch.stop();
  expect(looks).toBe(1);
});

test('a look that hangs leaves no old figure standing, and does not hold up the end', async () => {
  let read: () => Promise<GroupProgress> = async () => progressOf(lagOf(0, 7));
  const watch = watchLag(() => read(), logger, { intervalMs: 1, pollTimeoutMs: 50 });
  await until('it is read', async () => (await shown())['catalog-events/0'] === 7);
  read = () => new Promise(() => undefined);
  await until('it is gone', async () => Object.keys(await shown()).length === 0);
  await watch.stop();
});

test('what holds a partition back and how long its first message waits are shown, also while another topic cannot be read', async () => {
  const heldBack = { ...lagOf(0, 7), heldBackBy: 'open-transaction' } as const;
  const waiting = { ...lagOf(1, 1), oldestUncommittedAt: Date.now() - 90_000 };
  const error = new Error('no leader');
  const watch = watchLag(
    async () => ({
      partitions: [heldBack, waiting],
      unreadable: [{ topic: 'order-events', error }],
    }),
    logger,
    { intervalMs: 1 },
  );
  try {
    await until('it is read', async () => Object.keys(await shown()).length === 2);
    const values = async (gauge: typeof partitionHeldBack) =>
      (await gauge.get()).values.map(({ value }) => value);
    expect(await values(partitionHeldBack)).toEqual([1, 0]);
    const [none, age] = (await oldestUncommittedAge.get()).values;
    expect(none?.value).toBe(0);
    expect(age?.value).toBeGreaterThanOrEqual(90);
  } finally {
    await watch.stop();
  }
});

test('a partition that an operator holds is not stalled; one beside it is', async () => {
  const clock = jest.spyOn(performance, 'now').mockReturnValue(0);
  let looks = 0;
  const read = async (): Promise<GroupProgress> => {
    looks += 1;
    return progressOf(lagOf(0, 7), lagOf(1, 7));
  };
  const isHeld = ({ partition }: PartitionLag): boolean => partition === 0;
  const watch = watchLag(read, logger, { intervalMs: 1, isHeld });
  try {
    await until('it has looked', () => looks > 1);
    clock.mockReturnValue(patienceMs);
    const stalled = await until('one is stalled', async () => {
      const { values } = await consumerStalled.get();
      const found = values.filter(({ value }) => value > 0);
      return found.length > 0 ? found : undefined;
    });
    expect(stalled.map(({ labels }) => labels.partition)).toEqual([1]);
  } finally {
    clock.mockRestore();
    await watch.stop();
  }
});
