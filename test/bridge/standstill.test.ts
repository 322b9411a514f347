import { createStandstillWatch, patienceInBacklogMs, patienceMs } from '../../bridge/standstill';
import type { PartitionLag } from '../../platform/kafka/consumer-lag';

const lookMs = 5_000;

/** Polls until the time is over, and returns which partitions are stalled then. */
function watchFor(
  durationMs: number,
  progress: (look: number) => readonly PartitionLag[],
): readonly number[] {
  const watch = createStandstillWatch();
  for (let at = 0; at <= durationMs; at += lookMs) watch.observe(progress(at / lookMs), at);
  return watch.stalled().map(({ partition }) => partition);
}

function at(partition: number, committed: number | null, end: number): PartitionLag {
  const lag = end - (committed ?? 0);
  return { topic: 'catalog-events', partition, committed, start: 0, end, lag };
}

const idle = Array.from({ length: 11 }, (_, index) => at(index + 1, 50, 50));

test('a partition with messages in which nothing is committed is stalled after 30 s, not before', () => {
  const hung = () => [at(0, 17, 20), ...idle];
  expect(watchFor(patienceMs - lookMs, hung)).toEqual([]);
  expect(watchFor(patienceMs, hung)).toEqual([0]);
});

test('more messages behind the first do not hide that nothing is committed', () => {
  expect(watchFor(patienceMs, (look) => [at(0, 17, 20 + look), ...idle])).toEqual([0]);
});

test('a group that has never committed is stalled, too', () => {
  expect(watchFor(patienceMs, () => [at(0, null, 3)])).toEqual([0]);
});

test('one stuck partition is seen while the others take each message as it comes', () => {
  const others = (look: number) => idle.map(({ partition }) => at(partition, 50 + look, 50 + look));
  expect(watchFor(patienceMs, (look) => [at(0, 17, 20), ...others(look)])).toEqual([0]);
});

test('in a backlog a partition may wait its turn for longer, but not for ever', () => {
  const backlog = (look: number) => [at(0, 17, 1_000), at(1, 10 * look, 1_000)];
  expect(watchFor(patienceInBacklogMs - lookMs, backlog)).toEqual([]);
  expect(watchFor(patienceInBacklogMs, backlog)).toEqual([0]);
});

test('where every partition makes progress, however slowly, none is stalled', () => {
  const slow = (look: number) => [at(0, Math.floor(look / 5), 1_000), at(1, look, 1_000)];
  expect(watchFor(10 * patienceMs, slow)).toEqual([]);
});

test('an idle group stands nowhere, and is not late for its first message after a long while', () => {
  expect(watchFor(10 * patienceMs, () => idle)).toEqual([]);
  const lookAtEnd = (10 * patienceMs) / lookMs;
  const woken = (look: number) => [at(0, 17, look < lookAtEnd - 1 ? 17 : 18)];
  expect(watchFor(10 * patienceMs, woken)).toEqual([]);
});

test('what an open transaction holds back does not count as standing still, until it is let go', () => {
  const held = { ...at(0, 17, 20), heldBackBy: 'open-transaction' } as const;
  expect(watchFor(10 * patienceMs, () => [held])).toEqual([]);
  const looksHeld = 20;
  const letGo = (look: number) => [look < looksHeld ? held : at(0, 17, 20)];
  expect(watchFor(looksHeld * lookMs + patienceMs - lookMs, letGo)).toEqual([]);
  expect(watchFor(looksHeld * lookMs + patienceMs, letGo)).toEqual([0]);
});

test('time in which nothing could be seen does not count', () => {
  const watch = createStandstillWatch();
  watch.observe([at(0, 17, 20)], 0);
  watch.forget();
  watch.observe([at(0, 17, 20)], patienceMs);
  expect(watch.stalled()).toEqual([]);
  watch.observe([at(0, 17, 20)], 2 * patienceMs);
  expect(watch.stalled()).toMatchObject([{ partition: 0, committed: 17, forMs: patienceMs }]);
});
