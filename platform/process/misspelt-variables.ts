/**
 * Variables of the environment that look like misspelt ones of ours. Nothing reads them, so without a warning
 * the default holds and nobody knows why.
 */
import leven from 'leven';
import { environmentVariables } from './config';

/** So few letters are a slip: one too many, one missing, two swapped. */
const slipOfLetters = 2;

/** Names that others use, too, and what the value is like where one of ours was meant. */
const namesOfOthers: Readonly<Record<string, RegExp>> = {
  API_KEY: /:(?:shopper|operator):/,
};

/**
 * A sentence for each variable whose name is nearly that of one of ours.
 *
 * @param more names that the program reads beside those of {@link environmentVariables}
 */
export function warnOfMisspeltVariables(
  environment: NodeJS.ProcessEnv = process.env,
  more: readonly string[] = [],
): string[] {
  const ours = [...environmentVariables, ...more];
  return Object.keys(environment)
    .filter((name) => !ours.includes(name) && !isOpenTelemetrys(name))
    .filter((name) => namesOfOthers[name]?.test(environment[name] ?? '') ?? true)
    .flatMap((name) => {
      const meant = nearest(name, ours);
      return meant === undefined ? [] : [`${name} is not read by anything; did you mean ${meant}?`];
    });
}

/** OpenTelemetry reads more variables than we know. */
function isOpenTelemetrys(name: string): boolean {
  return name.startsWith('OTEL_');
}

function nearest(name: string, ours: readonly string[]): string | undefined {
  const near = ours
    // Spares the comparison of what is longer by more.
    .filter((known) => Math.abs(known.length - name.length) <= slipOfLetters)
    .map((known) => ({ known, distance: leven(name, known) }))
    .filter(({ distance }) => distance <= slipOfLetters);
  return near.toSorted((one, other) => one.distance - other.distance)[0]?.known;
}
