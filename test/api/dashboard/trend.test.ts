import { createTrend } from '../../../api/dashboard/client/trend';

test('a figure rises or falls by so much a second, over its last readings', () => {
  const trend = createTrend();
  for (const [second, value] of [
    [0, 900],
    [2, 100],
    [14, 340],
  ] as const) {
    trend.add(value, second * 1_000);
  }
  expect(trend.perSecond()).toBe(20);
  trend.add(0, 24_000);
  expect(trend.perSecond()).toBe(-34);
});

test('a single reading, and what was before a time without one, say nothing', () => {
  const trend = createTrend();
  expect(trend.perSecond()).toBeUndefined();
  trend.add(10, 0);
  trend.add(10, 0);
  expect(trend.perSecond()).toBeUndefined();
  trend.add(20, 5_000);
  trend.add(undefined, 6_000);
  trend.add(30, 7_000);
  expect(trend.perSecond()).toBeUndefined();
});
