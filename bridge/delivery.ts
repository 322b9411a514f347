/** A slice on its way to Temporal: which of its messages are still open. */

/** A slice that is being dispatched. Each of its messages is acknowledged, postponed or failed. */
export interface Delivery<Message> {
  /** Aborted when the partition is revoked or the process stops. */
  readonly signal: AbortSignal;
  /** Settles when no message is open any more; rejects with the first failure. */
  readonly settled: Promise<void>;
  /** Temporal has acknowledged a workflow for the message, or it needs none. */
  acknowledge(): void;
  /** The message is to be delivered again, together with the others that are postponed. */
  postpone(message: Message): void;
  /** The message cannot be delivered now: it will be redelivered by Kafka. */
  fail(error: unknown): void;
}

/**
 * @param count how many messages it has
 * @param deliverAgain is called with the postponed messages when no other is open any more
 */
export function createDelivery<Message>(
  count: number,
  signal: AbortSignal,
  deliverAgain: (messages: readonly Message[]) => void,
): Delivery<Message> {
  let resolve = (): void => undefined;
  let reject = (_error: unknown): void => undefined;
  const settled = new Promise<void>((...functions) => {
    [resolve, reject] = functions;
  });
  const failures: unknown[] = [];
  let postponed: Message[] = [];
  let open = count;
  const settle = (): void => {
    if (open > 0) return;
    if (failures.length > 0) reject(failures[0]);
    else if (postponed.length === 0) resolve();
    else {
      const messages = postponed;
      postponed = [];
      open = messages.length;
      deliverAgain(messages);
    }
  };
  const close = (): void => {
    open -= 1;
    settle();
  };
  settle();
  return {
    signal,
    settled,
    acknowledge: close,
    postpone(message) {
      postponed.push(message);
      close();
    },
    fail(error) {
      failures.push(error);
      close();
    },
  };
}
