/** Waiting for a condition, with a bound and a name that the failure tells. */
import { pollUntil } from '../platform/process/waiting';

/** How to wait. */
export interface UntilOptions {
  /** How long to wait at most, in ms. */
  readonly timeoutMs?: number;
  /** How long to wait between two looks, in ms. */
  readonly pollMs?: number;
}

/**
 * Waits until `look` answers something true and returns it. An error that it throws counts as 'not
 * yet' and is told when the time is over.
 */
export async function until<T>(
  what: string,
  look: () => T | Promise<T>,
  { timeoutMs = 30_000, pollMs = 50 }: UntilOptions = {},
): Promise<NonNullable<T>> {
  let problem: unknown;
  let seen: T | undefined;
  const lookOnce = async (): Promise<T | undefined> => {
    try {
      seen = await look();
      problem = undefined;
      return seen;
    } catch (error) {
      problem = error;
      return undefined;
    }
  };
  const found = await pollUntil(lookOnce, { timeoutMs, pollMs });
  if (found) return found;
  throw new Error(`Not within ${timeoutMs} ms: ${what}. Last seen: ${JSON.stringify(seen)}`, {
    cause: problem,
  });
}
