/**
 * Parses an event's `time` (RFC 3339). JavaScript and PostgreSQL each reject parts of RFC 3339, and
 * round differently, so it is parsed here and nowhere else.
 */

/**
 * Syntax of `date-time` in RFC 3339, section 5.6; {@link readEventTime} checks whether the time
 * exists.
 */
export const eventTimeLayout =
  /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

/**
 * The instant of a `time`, truncated to milliseconds, so that an event stays on its day. For the
 * same reason a leap second, which neither JavaScript nor PostgreSQL supports, becomes the last
 * millisecond of the second before it.
 *
 * @returns undefined where there is no such time, where a second 60 does not end a month in UTC, and
 * outside of the years 1 to 9999 in UTC, which PostgreSQL cannot hold
 */
export function readEventTime(time: string): Date | undefined {
  const parts = eventTimeLayout.exec(time);
  if (parts === null) return undefined;
  const [, date, minute, second, fraction = '', sign, hours = '0', minutes = '0'] = parts;
  const leaps = second === '60';
  const milliseconds = leaps ? '999' : fraction.slice(0, 3).padEnd(3, '0');
  const text = `${date}T${minute}:${leaps ? '59' : second}.${milliseconds}Z`;
  const local = new Date(text);
  // JavaScript turns 30 February into a day of March, and hour 24 into the next day.
  if (Number.isNaN(local.getTime()) || local.toISOString() !== text) return undefined;
  const offsetMs = (Number(hours) * 60 + Number(minutes)) * 60_000;
  const instant = new Date(local.getTime() + (sign === '-' ? offsetMs : -offsetMs));
  if (leaps && !endsMonth(instant)) return undefined;
  const year = instant.getUTCFullYear();
  return year >= 1 && year <= 9999 ? instant : undefined;
}

function endsMonth(instant: Date): boolean {
  const next = new Date(instant.getTime() + 1);
  return next.getUTCDate() === 1 && next.getUTCHours() === 0 && next.getUTCMinutes() === 0;
}
