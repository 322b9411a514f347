/** The interface of a benchmark: sides measured in turn, in one run, on the same servers. */
import { orAborted } from '../platform/process/waiting';
import { projections } from '../projections';
import type { Stack } from '../testkit/stack';
import type { Point } from './curve';

/** One figure of a side, such as `events/s`, with its value in each round. */
export type Figures = Readonly<Record<string, readonly number[]>>;

/** One side of a comparison. */
export interface Side {
  readonly name: string;
  /** What it is, for a reader who knows the field and not this project. */
  readonly what: string;
  readonly figures: Figures;
  /** Its load curve, where the suite has one. */
  readonly points?: readonly Point[];
}

/** The ratio of two sides in one figure: the median of the rounds' ratios. */
export interface Ratio {
  readonly side: string;
  readonly to: string;
  readonly figure: string;
  readonly ratio: number;
  /** Such as `≥ 0.9`. */
  readonly goal?: Goal;
  /** Whether `to` is the limit of this shape of work, or another product. */
  readonly kind: 'limit' | 'alternative' | 'peer';
  /** The product that `to` is a side of, where it goes by another name. */
  readonly peer?: string;
}

/** The bound of a figure or ratio. */
export interface Goal {
  readonly atLeast?: number;
  readonly below?: number;
}

/** A figure with a goal of its own, independent of other sides. */
export interface Target {
  readonly side: string;
  readonly figure: string;
  readonly goal: Goal;
}

export interface SuiteResult {
  readonly sides: readonly Side[];
  readonly ratios: readonly Ratio[];
  readonly targets: readonly Target[];
  /** Other observations, such as the memory of the processes. */
  readonly remarks: readonly string[];
  /** Versions of packages that only this suite uses. */
  readonly versions?: Readonly<Record<string, string>>;
}

export interface SuiteContext {
  /** Rounds of each side. */
  readonly rounds: number;
  /** Multiplies the work of a round: 1 for the real size, less to try a suite out. */
  readonly scale: number;
  /** Reports progress. */
  note(text: string): void;
  /** Aborted when the run is to end. */
  readonly signal: AbortSignal;
}

/** A benchmark. */
export interface Suite {
  readonly name: string;
  /** What it compares, in a sentence. */
  readonly about: string;
  run(context: SuiteContext): Promise<SuiteResult>;
}

/** A side that can be measured. */
export interface Contestant {
  readonly name: string;
  readonly what: string;
  /** Measures one round. @returns each figure's value @throws when the results are wrong */
  measure(round: number): Promise<Readonly<Record<string, number>>>;
}

/**
 * Measures every side once per round, in rotating order, so that drift of the machine affects all
 * sides alike.
 */
export async function inTurn(
  contestants: readonly Contestant[],
  { rounds, note, signal }: SuiteContext,
): Promise<Side[]> {
  const values = new Map(contestants.map(({ name }) => [name, new Map<string, number[]>()]));
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < contestants.length; turn += 1) {
      signal.throwIfAborted();
      const { name, measure } = contestants[(round + turn) % contestants.length]!;
      const figures = await orAborted(measure(round), signal);
      for (const [figure, value] of Object.entries(figures)) {
        const rows = values.get(name)!;
        rows.set(figure, [...(rows.get(figure) ?? []), value]);
      }
      note(`round ${round + 1} of ${rounds}, ${name}: ${describe(figures)}`);
    }
  }
  return contestants.map(({ name, what }) => ({
    name,
    what,
    figures: Object.fromEntries(values.get(name)!),
  }));
}

/** The ratio of two sides in a figure: round by round, then the median. */
export function ratioOf(
  sides: readonly Side[],
  side: string,
  to: string,
  figure: string,
  more: Pick<Ratio, 'kind' | 'goal'>,
): Ratio {
  const [own, other] = [side, to].map((name) => {
    const found = sides.find((each) => each.name === name)?.figures[figure];
    if (found === undefined) throw new Error(`${name} has no figure ${figure}.`);
    return found;
  });
  const ratios = own!.map((value, round) => value / other![round]!);
  return { side, to, figure, ratio: median(ratios), ...more };
}

/** The middle one; of an even number, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The value that `percent` of the values do not exceed, interpolated. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  const position = ((sorted.length - 1) * percent) / 100;
  const [below, above] = [sorted[Math.floor(position)]!, sorted[Math.ceil(position)]!];
  return below + (above - below) * (position - Math.floor(position));
}

/** Empties the collector's tables, so that rounds start alike. */
export async function emptyCollector({
  pool,
  redis,
}: Pick<Stack, 'pool' | 'redis'>): Promise<void> {
  const tables = [
    ...['event_log', 'event_handled', 'dead_letters', 'partition_progress', 'vanished_offsets'],
    'replays',
    ...projections.map(({ table }) => table),
  ];
  await pool.query(`TRUNCATE ${tables.map((table) => `collector.${table}`).join(', ')}`);
  await redis.flushall();
}

function describe(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([figure, value]) => `${value < 100 ? value.toFixed(1) : Math.round(value)} ${figure}`)
    .join(', ');
}
