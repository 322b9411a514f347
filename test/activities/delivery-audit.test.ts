import { setTimeout as sleep } from 'node:timers/promises';
import { filterConcurrently, isGone } from '../../activities/collector/delivery-audit';
import type { GroupProgress, PartitionLag } from '../../platform/kafka/consumer-lag';

const topic = 'catalog-events';

function progressOf(partition: Partial<PartitionLag>): GroupProgress {
  const log = { topic, partition: 0, committed: 15, start: 10, end: 20, lag: 5, ...partition };
  return { partitions: [log], unreadable: [] };
}

function at(offset: number | null, partition: number | null = 0) {
  return { topic, partition, offset };
}

test.each<[what: string, gone: boolean, offset: number, progress: GroupProgress]>([
  ['that the group has passed', true, 14, progressOf({})],
  ['that the group comes to next', false, 15, progressOf({})],
  ['before the start of the log', true, 9, progressOf({ committed: 5 })],
  ['before the start where nothing is committed', true, 9, progressOf({ committed: null })],
  ['that a group without an offset will read', false, 10, progressOf({ committed: null })],
  ['beyond the end of the log', true, 20, progressOf({})],
  ['beyond the end where nothing is committed', true, 20, progressOf({ committed: null })],
  [
    'in a topic made anew, with an offset of the old one',
    false,
    12,
    progressOf({ committed: 700 }),
  ],
  ['in an empty topic made anew', true, 0, progressOf({ committed: null, start: 0, end: 0 })],
])('a message %s: gone is %s', (_what, gone, offset, progress) => {
  expect(isGone(at(offset), progress)).toBe(gone);
});

test('a message without coordinates, or in a partition that there is no more, is gone', () => {
  expect(isGone(at(null, null), progressOf({}))).toBe(true);
  expect(isGone(at(15, 7), progressOf({}))).toBe(true);
});

test('of a topic that cannot be read nothing is known', () => {
  const error = new Error('no leader');
  expect(isGone(at(99), { partitions: [], unreadable: [{ topic, error }] })).toBe(false);
});

test('a thousand look-ups of 40 ms take seconds, fifty at a time, and are answered in their order', async () => {
  const items = Array.from({ length: 1_000 }, (_, index) => index);
  let [under, most] = [0, 0];
  const from = Date.now();
  const even = await filterConcurrently(items, 50, async (item) => {
    most = Math.max(most, (under += 1));
    await sleep(40);
    under -= 1;
    return item % 2 === 0;
  });
  expect(even).toEqual(items.filter((item) => item % 2 === 0));
  expect(most).toBe(50);
  expect(Date.now() - from).toBeLessThan(10_000);
});
