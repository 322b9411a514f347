/** Coalesces concurrent calls of a read into one. */

/**
 * A read whose answer is reused for `freshForMs` after its start; callers during the read share it.
 * A failure is thrown to the callers that wait for it, and is not cached.
 */
export function shareReading<Answer>(
  freshForMs: number,
  read: () => Promise<Answer>,
): () => Promise<Answer> {
  let current: { readonly answer: Promise<Answer>; readonly askedAt: number } | undefined;
  let underWay = false;
  return () => {
    if (current !== undefined && (underWay || Date.now() - current.askedAt < freshForMs)) {
      return current.answer;
    }
    underWay = true;
    const answer = read().then(
      (value) => {
        underWay = false;
        return value;
      },
      (error: unknown) => {
        underWay = false;
        current = undefined;
        throw error;
      },
    );
    current = { answer, askedAt: Date.now() };
    return answer;
  };
}
