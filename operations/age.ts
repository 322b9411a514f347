/** Ages, as operators give them. */

const secondsOf = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** How an age is written: a whole number of seconds, minutes, hours or days. */
export const agePattern = /^\d{1,6}[smhd]$/;

/** The seconds of an age such as `10s`, `5m`, `2h` or `1d`; undefined for what is none. */
export function ageInSeconds(age: string): number | undefined {
  if (!agePattern.test(age)) return undefined;
  return Number(age.slice(0, -1)) * secondsOf[age.slice(-1) as keyof typeof secondsOf];
}
