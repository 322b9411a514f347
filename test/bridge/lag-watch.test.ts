import { watchLag } from '../../bridge/lag-watch';
import type { PartitionLag } from '../../platform/consumer-lag';
import { createLogger } from '../../platform/logger';
import { consumerLag } from '../../platform/telemetry';
import { until } from '../integration/until';

const logger = createLogger('test', 'silent');

function lagOf(partition: number, lag: number): PartitionLag {
  return { topic: 'catalog-events', partition, committed: 0, end: lag, lag };
}

async function shown(): Promise<Record<string, number>> {
  const { values } = await consumerLag.get();
  return Object.fromEntries(
    values.map(({ labels, value }) => [`${labels.topic}/${labels.partition}`, value]),
  );
}

test('the metrics have the lag of each partition, and none while it cannot be read', async () => {
  let read: () => Promise<readonly PartitionLag[]> = async () => [lagOf(0, 7), lagOf(1, 0)];
  const watch = watchLag(() => read(), logger, { intervalMs: 1 });
  try {
    await until('it is read', async () => Object.keys(await shown()).length === 2);
    expect(await shown()).toEqual({ 'catalog-events/0': 7, 'catalog-events/1': 0 });

    read = () => Promise.reject(new Error('Kafka is away'));
    await until('it is gone', async () => Object.keys(await shown()).length === 0);
    read = async () => [lagOf(0, 3)];
    await until('it is read again', async () => (await shown())['catalog-events/0'] === 3);
  } finally {
    await watch.stop();
  }
});

test('a watch is stopped at once, however rarely it looks', async () => {
  let looks = 0;
  const read = async (): Promise<readonly PartitionLag[]> => {
    looks += 1;
    return [];
  };
  const watch = watchLag(read, logger, { intervalMs: 3_600_000 });
  await until('it has looked', () => looks === 1);
  await watch.stop();
  expect(looks).toBe(1);
});

test('a look that hangs leaves no old figure standing, and does not hold up the end', async () => {
  let read: () => Promise<readonly PartitionLag[]> = async () => [lagOf(0, 7)];
  const watch = watchLag(() => read(), logger, { intervalMs: 1, lookTimeoutMs: 50 });
  await until('it is read', async () => (await shown())['catalog-events/0'] === 7);
  read = () => new Promise(() => undefined);
  await until('it is gone', async () => Object.keys(await shown()).length === 0);
  await watch.stop();
});
