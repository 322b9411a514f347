/**
 * Notices that the consumer lag grows: more comes than is consumed. Pure, and judged over half a minute, so
 * that a burst is no growth.
 */

/** Notices growth in readings of the lag. */
export interface LagGrowth {
  /**
   * Takes a reading.
   *
   * @param lag messages that are not committed
   * @param at ms since the epoch
   * @returns whether an episode of growth begins with it
   */
  observe(lag: number, at: number): boolean;
  /** Since when the lag grows; undefined while it does not. */
  since(): Date | undefined;
}

/** Below it, growth is none: messages under way. */
const leastLag = 200;

/** How long the lag must have grown. Between readings that are further apart, nothing is known. */
const windowMs = 30_000;

/** By how much of itself it must have grown in that time. */
const leastGrowth = 0.1;

interface Reading {
  readonly lag: number;
  readonly at: number;
}

/** Without a first reading. */
export function createLagGrowth(): LagGrowth {
  let readings: readonly Reading[] = [];
  let since: number | undefined;
  return {
    observe(lag, at) {
      readings = [...withinWindow(readings, at), { lag, at }];
      const first = readings[0]!;
      if (since !== undefined && (lag < leastLag || lag <= first.lag)) since = undefined;
      const grows =
        at - first.at >= windowMs && lag >= leastLag && lag > first.lag * (1 + leastGrowth);
      if (since !== undefined || !grows) return false;
      since = first.at;
      return true;
    },
    since: () => (since === undefined ? undefined : new Date(since)),
  };
}

/** The readings of the window, and the last one before it. */
function withinWindow(readings: readonly Reading[], at: number): readonly Reading[] {
  if (at - (readings.at(-1)?.at ?? at) > windowMs) return [];
  const first = readings.findLastIndex((reading) => at - reading.at >= windowMs);
  return readings.slice(Math.max(first, 0));
}
