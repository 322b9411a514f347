import { createLagGrowth, type LagGrowth } from '../../bridge/lag-growth';

/** Takes readings five seconds apart. @returns in which of them an episode began */
function observe(growth: LagGrowth, lags: readonly number[], from = 0): number[] {
  return lags.flatMap((lag, index) => (growth.observe(lag, from + index * 5_000) ? [index] : []));
}

const rising = (count: number, step = 100): number[] =>
  Array.from({ length: count }, (_, index) => 300 + index * step);

test('a lag that has grown for half a minute is told once, however long it goes on', () => {
  const growth = createLagGrowth();
  expect(observe(growth, rising(20))).toEqual([6]);
  expect(growth.since()).toEqual(new Date(0));
});

test('once it has fallen, the next episode is told again', () => {
  const growth = createLagGrowth();
  observe(growth, rising(8));
  growth.observe(250, 40_000);
  expect(growth.since()).toBeUndefined();
  expect(observe(growth, rising(10), 75_000)).toHaveLength(1);
});

test.each([
  ['a burst that is consumed', [0, 5_000, 4_000, 3_000, 2_000, 1_000, 0, 0]],
  ['a lag that stays as it is', Array.from({ length: 20 }, () => 5_000)],
  ['a few messages under way', [0, 1, 5, 20, 50, 90, 120, 150, 180]],
])('%s is no growth', (_what, lags) => {
  const growth = createLagGrowth();
  expect(observe(growth, lags)).toEqual([]);
  expect(growth.since()).toBeUndefined();
});

test('nothing is said about a time in which the lag could not be read', () => {
  const growth = createLagGrowth();
  growth.observe(300, 0);
  expect(growth.observe(9_000, 60_000)).toBe(false);
});
