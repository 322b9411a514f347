/** Whether a figure rises or falls, from its readings of the last seconds. Pure. */

/** The trend of a figure. */
export interface Trend {
  /** Takes a reading; `undefined` where it could not be measured, after which nothing is known. */
  add(value: number | undefined, at: number): void;
  /** Change per second; undefined until there are readings over some seconds. */
  perSecond(): number | undefined;
}

/** Over how long a change is looked at, in ms. */
const spanMs = 12_000;

/** From when on readings say something, in ms. */
const leastSpanMs = 4_000;

/** Without a first reading. */
export function createTrend(): Trend {
  let readings: { readonly value: number; readonly at: number }[] = [];
  return {
    add(value, at) {
      if (value === undefined) readings = [];
      // The same reading again, or none newer.
      else if (at > (readings.at(-1)?.at ?? -Infinity)) readings.push({ value, at });
      readings = readings.filter((reading) => at - reading.at <= spanMs);
    },
    perSecond() {
      const first = readings[0];
      const last = readings.at(-1);
      if (first === undefined || last === undefined || last.at - first.at < leastSpanMs) {
        return undefined;
      }
      return ((last.value - first.value) / (last.at - first.at)) * 1_000;
    },
  };
}
