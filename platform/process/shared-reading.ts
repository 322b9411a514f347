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

/**
 * Reads of many keys, of each one at a time: callers during a read share the next one, which starts when it
 * has ended. So each gets what was read after it asked, and however many ask at once, two reads answer them.
 *
 * @param read never throws at once; is given the argument of the last caller that shares it and has one
 */
export function shareNextReading<Argument, Answer>(
  read: (key: string, argument: Argument) => Promise<Answer>,
): (key: string, argument: Argument) => Promise<Answer> {
  const underWay = new Map<string, { next?: Turn<Argument, Answer> }>();

  const start = (key: string, argument: Argument): Promise<Answer> => {
    const current: { next?: Turn<Argument, Answer> } = {};
    underWay.set(key, current);
    const answer = read(key, argument);
    const goOn = (): void => {
      if (current.next === undefined) underWay.delete(key);
      else current.next.begin(start(key, current.next.argument));
    };
    answer.then(goOn, goOn);
    return answer;
  };

  return (key, argument) => {
    const current = underWay.get(key);
    if (current === undefined) return start(key, argument);
    const next = current.next ?? { ...createTurn<Answer>(), argument };
    current.next = { ...next, argument: argument ?? next.argument };
    return current.next.answer;
  };
}

/** A read that waits for the one under way. */
interface Turn<Argument, Answer> {
  readonly argument: Argument;
  readonly answer: Promise<Answer>;
  begin(answer: Promise<Answer>): void;
}

function createTurn<Answer>(): Omit<Turn<never, Answer>, 'argument'> {
  let begin: (answer: Promise<Answer>) => void = () => undefined;
  const answer = new Promise<Answer>((resolve) => {
    begin = resolve;
  });
  return { answer, begin: (started) => begin(started) };
}
