/** One reading for everybody who asks at about the same time. */

/**
 * A read whose answer serves for `freshForMs` from when it was asked for; who asks while it is under
 * way waits for it. A failure serves those who wait for it, and nobody after them.
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
