/**
 * When an event happened: its `time`, which RFC 3339 lays out. JavaScript and PostgreSQL each refuse a
 * part of what it allows, and differ in how they round, so it is read here and nowhere else.
 */

/** `date-time` of RFC 3339, section 5.6, as a layout; whether there is such a time, {@link readEventTime} tells. */
export const eventTimeLayout =
  /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;

/**
 * The instant that a `time` names, in whole milliseconds: further digits are cut off, never rounded up,
 * so that an event stays on its day. For the same reason a leap second, which the clocks of neither
 * JavaScript nor PostgreSQL know, is the last millisecond of the second before it.
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
  // The 30th of February becomes one of March, and hour 24 the next day.
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
