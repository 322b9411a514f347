/**
 * Watches a kafkajs consumer, which stops for good after some crashes and can hang on a dropped
 * connection without a sign (https://github.com/tulios/kafkajs/issues/1299, 1513, 1163).
 */
import type { Consumer } from 'kafkajs';
import { consumerLastCommit, consumerLastFetch } from '../platform/observability/telemetry';

/** The consumer fetches nothing any more, though nothing keeps it from doing so. */
class ConsumerStalledError extends Error {
  override readonly name = 'ConsumerStalledError';
  readonly code = 'CONSUMER_STALLED';
}

/** The watch over one consumer. */
export interface ConsumerWatch {
  /** Rejects when the consumer has stopped by itself or hangs. Never resolves. */
  readonly failure: Promise<never>;
  /** Runs the handling of a batch, during which no fetch is expected. */
  during<T>(work: () => Promise<T>): Promise<T>;
  /** Ends the watch. */
  stop(): void;
}

/**
 * Watches a consumer from now on. A healthy one comes back from a fetch at least every few seconds,
 * with or without messages, unless it is busy with a batch.
 *
 * @param stallTimeoutMs how long it may go without
 */
export function watchConsumer(consumer: Consumer, stallTimeoutMs: number): ConsumerWatch {
  let lastSign = Date.now();
  let busy = 0;
  let fail: (error: Error) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // It may reject while the consumer is still connecting, before anybody waits for it.
  failure.catch(() => undefined);

  const sign = (): void => {
    lastSign = Date.now();
  };
  consumer.on(consumer.events.FETCH, () => {
    sign();
    consumerLastFetch.setToCurrentTime();
  });
  consumer.on(consumer.events.COMMIT_OFFSETS, () => consumerLastCommit.setToCurrentTime());
  consumer.on(consumer.events.GROUP_JOIN, sign);
  consumer.on(consumer.events.CRASH, ({ payload }) => {
    fail(payload.error);
  });
  const timer = setInterval(() => {
    if (busy > 0) sign();
    if (Date.now() - lastSign < stallTimeoutMs) return;
    fail(new ConsumerStalledError(`No fetch has come back for ${stallTimeoutMs} ms.`));
  }, stallTimeoutMs / 10);

  return {
    failure,
    async during(work) {
      busy += 1;
      try {
        return await work();
      } finally {
        busy -= 1;
        sign();
      }
    },
    stop() {
      clearInterval(timer);
    },
  };
}
