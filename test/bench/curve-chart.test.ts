/** The picture of load curves. */
import { drawCurves } from '../../bench/curve-chart';
import type { Point } from '../../bench/curve';

const point = (rate: number, p99: number, held = true): Point => ({
  rate,
  p50: p99 / 2,
  p95: p99 * 0.9,
  p99,
  held,
});

const pathsOf = (svg: string, ofClass: string): string[] =>
  [...svg.matchAll(new RegExp(`<path class="${ofClass}" d="([^"]*)"`, 'g'))].map(
    ([, path]) => path!,
  );

/** The places that a line goes through, as [x, y]. */
const placesOf = (path: string): number[][] =>
  path
    .slice(1)
    .split('L')
    .map((place) => place.split(' ').map(Number));

test('a line goes through every rate that is held, higher where it takes longer', () => {
  const svg = drawCurves([
    { name: 'one', points: [point(1, 20), point(10, 200), point(100, 2_000)] },
  ]);
  const [first, second, third] = placesOf(pathsOf(svg, 'p99 side0').at(-1)!);
  // Both axes are logarithmic: ten times as much is as far, wherever it begins.
  expect(second![0]! - first![0]!).toBeCloseTo(third![0]! - second![0]!, 0);
  expect(second![1]! - first![1]!).toBeCloseTo(third![1]! - second![1]!, 0);
  expect(second![0]).toBeGreaterThan(first![0]!);
  expect(second![1]).toBeLessThan(first![1]!);
  const [p50] = pathsOf(svg, 'p50 side0');
  expect(placesOf(p50!)[0]![1]).toBeGreaterThan(first![1]!);
});

test('a rate that is not held is a cross at the end, and no part of the line', () => {
  const svg = drawCurves([
    { name: 'one', points: [point(1, 20), point(10, 30), point(50, 9_000, false)] },
    { name: 'other', points: [point(1, 20), point(10, 30)] },
  ]);
  expect(placesOf(pathsOf(svg, 'p99 side0').at(-1)!)).toHaveLength(2);
  expect(pathsOf(svg, 'cross side0')).toHaveLength(1);
  expect(pathsOf(svg, 'cross side1')).toEqual([]);
  expect(svg).toContain('holds 10/s');
});

test('every place is within the picture, whatever the times', () => {
  const svg = drawCurves([
    { name: 'one', points: [point(1, 0.4), point(10, 30), point(5_000, 180_000, false)] },
  ]);
  const lines = ['p50 side0', 'p99 side0', 'broken side0'].flatMap((each) => pathsOf(svg, each));
  const places = lines.filter((path) => path.includes('L')).flatMap(placesOf);
  expect(places.length).toBeGreaterThan(5);
  for (const [x, y] of places) {
    expect(x).toBeGreaterThan(0);
    expect(x).toBeLessThan(760);
    expect(y).toBeGreaterThan(80);
    expect(y).toBeLessThan(400);
  }
  expect(svg).not.toContain('NaN');
});

test('without results there are the axes alone', () => {
  const svg = drawCurves([]);
  expect(svg).toContain('>5,000</text>');
  expect(svg).not.toContain('NaN');
});
