/** What is made of a load curve's events: its points, and whether a rate was held. */
import {
  curveTable,
  figuresBeside,
  figuresOf,
  pointOf,
  pointsOf,
  type HandledEvent,
  type Point,
} from '../../bench/curve';

const measured = { from: 1_000, to: 13_000 };

/** Events at a steady rate from 0 to the end of the measured time. */
function eventsAt(
  perSecond: number,
  handledAt: (occurredAt: number, index: number) => number,
): HandledEvent[] {
  return Array.from({ length: (measured.to * perSecond) / 1_000 }, (_, index) => {
    const occurredAt = (index * 1_000) / perSecond;
    return { occurredAt, handledAt: handledAt(occurredAt, index) };
  });
}

const handledEachBy = (perSecond: number) => (occurredAt: number, index: number) =>
  Math.max(occurredAt, ((index + 1) * 1_000) / perSecond);

describe('a rate', () => {
  it('has the percentiles of its events, without those of the warm-up', () => {
    const events = eventsAt(100, (occurredAt, index) =>
      occurredAt < measured.from ? occurredAt + 900 : occurredAt + (index % 100) + 1,
    );
    const { p50, p95, p99 } = pointOf(100, events, measured);
    expect(p50).toBeCloseTo(50.5);
    expect(p95).toBeCloseTo(95.05, 1);
    expect(p99).toBeCloseTo(99.01, 1);
  });

  it('is held by a side that takes long and falls no further behind', () => {
    expect(
      pointOf(
        1_000,
        eventsAt(1_000, (at) => at + 2_000),
        measured,
      ).held,
    ).toBe(true);
  });

  it('is held by a side that works in batches', () => {
    const batches = eventsAt(1_000, (at) => Math.ceil((at + 1) / 700) * 700 + 200);
    expect(pointOf(1_000, batches, measured).held).toBe(true);
  });

  it.each([
    [1, 10_000, 1_000],
    [10, 10_000, 1_000],
    [1_000, 6_000, 2_000],
    [1_000, 10_000, 2_000],
  ])('of %i/s is held by a side that stands still once, at %i ms for %i', (rate, from, ms) => {
    const events = eventsAt(rate, (at) =>
      at >= from && at < from + ms ? from + ms + 20 : at + 20,
    );
    expect(pointOf(rate, events, measured).held).toBe(true);
  });

  it('of few events is not judged by the chance of one that waits', () => {
    const slower = eventsAt(1, (at) => at + (at < 5_000 ? 100 : at < 9_000 ? 700 : 1_300));
    expect(pointOf(1, slower, measured).held).toBe(true);
  });

  it.each([
    [100, 80],
    [3_000, 1_400],
    [10, 8],
  ])('of %i/s is not held by a side that handles %i/s', (rate, handled) => {
    expect(pointOf(rate, eventsAt(rate, handledEachBy(handled)), measured).held).toBe(false);
  });

  it('is not held when the rest takes longer than five seconds', () => {
    const stuck = (lateMs: number) =>
      eventsAt(100, (at) => (at === measured.to - 10 ? measured.to + lateMs : at + 10));
    expect(pointOf(100, stuck(4_900), measured).held).toBe(true);
    expect(pointOf(100, stuck(5_100), measured).held).toBe(false);
  });
});

const point = (rate: number, p50: number, held = true): Point => ({
  rate,
  p50,
  p95: p50 * 2,
  p99: p50 * 3,
  held,
});

/** The figures of several rounds, as `inTurn` collects them. */
function inRounds(...rounds: readonly (readonly Point[])[]): Record<string, number[]> {
  const all: Record<string, number[]> = {};
  for (const figures of rounds.map(figuresOf)) {
    for (const [figure, value] of Object.entries(figures)) (all[figure] ??= []).push(value);
  }
  return all;
}

describe('the points of several rounds', () => {
  it('are their medians', () => {
    const figures = inRounds([point(1, 10)], [point(1, 30)], [point(1, 20)]);
    expect(pointsOf(figures)).toEqual([point(1, 20)]);
  });

  it('are held where every round held them', () => {
    const figures = inRounds([point(1, 10), point(10, 10)], [point(1, 10), point(10, 10, false)]);
    expect(pointsOf(figures).map(({ held }) => held)).toEqual([true, false]);
  });

  it('end where every round has ended', () => {
    const figures = inRounds([point(1, 10), point(10, 70)], [point(1, 10, false)]);
    expect(pointsOf(figures)).toEqual([point(1, 10, false), point(10, 70)]);
  });

  it('are told apart from a side’s other figures', () => {
    const figures = { ...inRounds([point(1_000, 10)]), 'events/s': [7] };
    expect(figuresBeside(figures)).toEqual([['events/s', [7]]]);
  });
});

test('the table has a column for each rate, and says which is not held', () => {
  const { head, rows } = curveTable([
    { name: 'slow', points: [point(1, 4_000.4), point(10, 900, false)] },
  ]);
  expect(head.slice(0, 4)).toEqual(['side', 'ms', '1/s', '10/s']);
  expect(head.at(-1)).toBe('5,000/s');
  expect(rows.map((row) => row.slice(0, 5))).toEqual([
    ['slow', 'p50', '4,000', 'not held', ''],
    ['slow', 'p95', '8,001', 'not held', ''],
    ['slow', 'p99', '12,001', 'not held', ''],
  ]);
  expect(rows.every((row) => row.length === head.length)).toBe(true);
});
