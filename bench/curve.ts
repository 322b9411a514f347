/** A load curve: the times of a side at steady rates, up to the rate that it does not hold. */
import { median, percentile, type Figures, type Side } from './suite';

/** The rates that are tried, in events/s, until one is not held. */
export const rates = [1, 10, 50, 100, 300, 1_000, 3_000, 5_000] as const;

const percents = { p50: 50, p95: 95, p99: 99 } as const;
type Percentile = keyof typeof percents;
const percentiles = Object.keys(percents) as readonly Percentile[];

/** A side at one rate. Times are from `occurred_at` to `handled_at`, in ms. */
export interface Point extends Readonly<Record<Percentile, number>> {
  /** Events per second. */
  readonly rate: number;
  /** Whether no more came than went. */
  readonly held: boolean;
}

/** An event by the database's times, in ms since 1970. */
export interface HandledEvent {
  readonly occurredAt: number;
  readonly handledAt: number;
}

/** A span of time, in ms since 1970. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/** A backlog that grows from third to third by more than this share of what comes meanwhile. */
const growingShare = 0.1;

/** So few events are chance, and no backlog. */
const chance = 2;

/** How long after the end the rest may take, in ms. */
const restWithinMs = 5_000;

/**
 * The point of a rate, from all of its events: those that occurred before `measured` are its warm-up.
 *
 * It is not held when the mean backlog grows from the first third of the measured time to the second
 * and again to the last, or when the rest is not handled within five seconds after the end.
 */
export function pointOf(rate: number, events: readonly HandledEvent[], measured: Span): Point {
  const latencies = events
    .filter(({ occurredAt }) => occurredAt >= measured.from)
    .map(({ occurredAt, handledAt }) => handledAt - occurredAt);
  const times = percentiles.map((name) => [name, percentile(latencies, percents[name])] as const);
  return {
    rate,
    ...(Object.fromEntries(times) as Record<Percentile, number>),
    held: !isGrowing(rate, events, measured) && restMs(events, measured) <= restWithinMs,
  };
}

function isGrowing(rate: number, events: readonly HandledEvent[], { from, to }: Span): boolean {
  const third = (to - from) / 3;
  const [first, second, last] = [0, 1, 2].map((index) =>
    meanBacklog(events, { from: from + index * third, to: from + (index + 1) * third }),
  ) as [number, number, number];
  const least = Math.max(chance, (growingShare * rate * third) / 1_000);
  return second - first > least && last - second > least;
}

/** How many events that had occurred were not handled yet, as a mean over the span. */
function meanBacklog(events: readonly HandledEvent[], { from, to }: Span): number {
  const waited = events.reduce(
    (sum, { occurredAt, handledAt }) =>
      sum + Math.max(0, Math.min(handledAt, to) - Math.max(occurredAt, from)),
    0,
  );
  return waited / (to - from);
}

function restMs(events: readonly HandledEvent[], { to }: Span): number {
  return events.reduce((last, { handledAt }) => Math.max(last, handledAt), to) - to;
}

const heldFigure = (rate: number): string => `held at ${inWords(rate)}`;

/** The name of a point's figure, such as `p99 ms at 1,000/s`. */
export function figureAt(percentile: Percentile, rate: number): string {
  return `${percentile} ms at ${inWords(rate)}`;
}

/** The points of a round as figures. */
export function figuresOf(points: readonly Point[]): Record<string, number> {
  return Object.fromEntries(
    points.flatMap((point) => [
      ...percentiles.map((name) => [figureAt(name, point.rate), point[name]] as const),
      [heldFigure(point.rate), point.held ? 1 : 0],
    ]),
  );
}

/** The points of all rounds: the medians; held is what every round held. */
export function pointsOf(figures: Figures): Point[] {
  return rates.flatMap((rate) => {
    const held = figures[heldFigure(rate)];
    if (held === undefined) return [];
    const times = percentiles.map(
      (name) => [name, median(figures[figureAt(name, rate)]!)] as const,
    );
    return {
      rate,
      ...(Object.fromEntries(times) as Record<Percentile, number>),
      held: held.every((value) => value === 1),
    };
  });
}

/** The figures that are not those of a point. */
export function figuresBeside<Value>(
  figures: Readonly<Record<string, Value>>,
): [figure: string, Value][] {
  const ofPoints = rates.flatMap((rate) => [
    ...percentiles.map((name) => figureAt(name, rate)),
    heldFigure(rate),
  ]);
  return Object.entries(figures).filter(([figure]) => !ofPoints.includes(figure));
}

/** A table with a column for each rate, and a row for each side's percentile. */
export function curveTable(
  sides: readonly (Pick<Side, 'name'> & Required<Pick<Side, 'points'>>)[],
): { readonly head: string[]; readonly rows: string[][] } {
  return {
    head: ['side', 'ms', ...rates.map(inWords)],
    rows: sides.flatMap(({ name, points }) =>
      percentiles.map((percentile) => [
        name,
        percentile,
        ...rates.map((rate) =>
          cellOf(
            points.find((point) => point.rate === rate),
            percentile,
          ),
        ),
      ]),
    ),
  };
}

function cellOf(point: Point | undefined, percentile: Percentile): string {
  if (point === undefined) return '';
  return point.held ? Math.round(point[percentile]).toLocaleString('en') : 'not held';
}

function inWords(rate: number): string {
  return `${rate.toLocaleString('en')}/s`;
}
