/** Assertions of the story, and polling. */
import { inspect, isDeepStrictEqual } from 'node:util';
import { pause } from '../../platform/process/waiting';

/** An assertion of the story failed. */
export class UnconfirmedError extends Error {
  override readonly name = 'UnconfirmedError';
  readonly code = 'UNCONFIRMED';
}

/** @throws UnconfirmedError that names `what` unless both values are equal in every part */
export function confirm(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  throw new UnconfirmedError(`${what} is ${inspect(actual)} and not ${inspect(expected)}`);
}

const patienceMs = 60_000;
const pollMs = 50;

/**
 * Polls until `look` returns without an error, and returns its result.
 *
 * @throws UnconfirmedError after a minute, with the last error as its cause; the signal's reason when aborted
 */
export async function eventually<Result>(
  signal: AbortSignal,
  what: string,
  look: () => Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await look();
    } catch (cause) {
      if (performance.now() > deadline) throw tooLate(what, cause);
    }
    await pause(pollMs, signal);
  }
}

function tooLate(what: string, cause: unknown): UnconfirmedError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `timeout after ${patienceMs / 1000} s: ${what} (${reason})`;
  return new UnconfirmedError(message, { cause });
}
