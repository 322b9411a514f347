/**
 * Throughput and latency in short intervals, for the charts: read from the server, and updated with each
 * streamed event until the next read.
 */

/** A stretch of time. Times are in ms since 1970. */
interface Stretch {
  readonly at: number;
  /** Null where nobody has counted. */
  readonly events: number | null;
  readonly medianMs: number | null;
  readonly p95Ms: number | null;
}

/** The last stretches of time. */
export interface EventRates {
  /** Takes what the server has counted; its last stretch is not over, and is counted here. */
  replace(stretches: readonly Stretch[], lengthMs: number): void;
  /** Counts an event that was handled after what the server has counted. */
  add(handledAt: number, latencyMs: number): void;
  /** From a time on nothing is streamed: what the server has not counted is unknown, until `resume`. */
  interrupt(at: number): void;
  /** What was missed follows, or is counted by the server. */
  resume(): void;
  /** The stretches that are over, the oldest first, without gaps. */
  list(now: number): Stretch[];
  /** Events per second, and their latencies, of the last `ms`. */
  summarize(now: number, ms: number): RateSummary;
  /** How long a stretch is. */
  readonly lengthMs: number;
}

/** A longer time in numbers. */
interface RateSummary {
  readonly events: number;
  readonly perSecond: number;
  readonly medianMs: number | null;
  readonly p95Ms: number | null;
}

/** How many stretches are kept. */
export const keptStretches = 300;

// Enough for a percentile of a stretch, however much is handled in it.
const keptLatencies = 500;

interface Counted {
  events: number;
  latencies: number[];
}

/** Rates without anything counted. */
export function createEventRates(): EventRates {
  let lengthMs = 2_000;
  let fromServer = new Map<number, Stretch>();
  let countedFrom = 0;
  let unknownFrom = Infinity;
  const counted = new Map<number, Counted>();

  const startOf = (time: number): number => Math.floor(time / lengthMs) * lengthMs;
  const stretchAt = (at: number): Stretch => {
    if (!fromServer.has(at) && at + lengthMs > unknownFrom) return { ...nobodyCounted, at };
    return fromServer.get(at) ?? toStretch(at, counted.get(at));
  };
  return {
    get lengthMs() {
      return lengthMs;
    },
    replace(stretches, length) {
      lengthMs = length;
      const over = stretches.slice(0, -1);
      fromServer = new Map(over.map((stretch) => [stretch.at, stretch]));
      countedFrom = (over.at(-1)?.at ?? 0) + length;
      for (const at of counted.keys()) if (at < countedFrom) counted.delete(at);
    },
    add(handledAt, latencyMs) {
      const at = startOf(handledAt);
      if (at < countedFrom) return;
      const stretch = counted.get(at) ?? { events: 0, latencies: [] };
      stretch.events += 1;
      if (stretch.latencies.length < keptLatencies) stretch.latencies.push(Math.max(latencyMs, 0));
      counted.set(at, stretch);
    },
    interrupt(at) {
      unknownFrom = at;
    },
    resume() {
      unknownFrom = Infinity;
    },
    list(now) {
      const end = startOf(now);
      const times = Array.from(
        { length: keptStretches },
        (_, index) => end - (keptStretches - index) * lengthMs,
      );
      const oldest = times[0] ?? end;
      for (const at of counted.keys()) if (at < oldest) counted.delete(at);
      return times.map(stretchAt);
    },
    summarize(now, ms) {
      const end = startOf(now);
      const count = Math.round(ms / lengthMs);
      const stretches = Array.from({ length: count + 1 }, (_, index) =>
        stretchAt(end - index * lengthMs),
      );
      const events = stretches.reduce((sum, stretch) => sum + (stretch.events ?? 0), 0);
      const busy = stretches.filter((stretch) => (stretch.events ?? 0) > 0);
      return {
        events,
        perSecond: events / (ms / 1_000),
        medianMs: weightedMean(busy, ({ medianMs }) => medianMs),
        // Percentiles do not add up: show the worst interval.
        p95Ms: busy.reduce<number | null>(
          (worst, { p95Ms }) => (p95Ms === null ? worst : Math.max(worst ?? 0, p95Ms)),
          null,
        ),
      };
    },
  };
}

const nobodyCounted = { events: null, medianMs: null, p95Ms: null };

function toStretch(at: number, counted: Counted | undefined): Stretch {
  if (counted === undefined) return { at, events: 0, medianMs: null, p95Ms: null };
  const sorted = counted.latencies.toSorted((one, other) => one - other);
  return {
    at,
    events: counted.events,
    medianMs: percentile(sorted, 0.5),
    p95Ms: percentile(sorted, 0.95),
  };
}

/** As PostgreSQL's `percentile_cont`: between two values where it falls between them. */
function percentile(sorted: readonly number[], share: number): number | null {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) return null;
  return below + (above - below) * (place - Math.floor(place));
}

function weightedMean(
  stretches: readonly Stretch[],
  of: (stretch: Stretch) => number | null,
): number | null {
  let sum = 0;
  let weight = 0;
  for (const stretch of stretches) {
    const value = of(stretch);
    if (value === null) continue;
    sum += value * (stretch.events ?? 0);
    weight += stretch.events ?? 0;
  }
  return weight === 0 ? null : sum / weight;
}
