/**
 * Watchdog of a kafkajs consumer, which stops for good after some crashes and can hang silently on a
 * dropped connection (https://github.com/tulios/kafkajs/issues/1299, 1513, 1163).
 */
import type { Consumer } from 'kafkajs';
import { consumerLastCommit, consumerLastFetch } from '../observability/telemetry';

/** The consumer has stalled: it stopped fetching for no visible reason. */
class ConsumerStalledError extends Error {
  override readonly name = 'ConsumerStalledError';
  readonly code = 'CONSUMER_STALLED';
}

export interface ConsumerWatch {
  /** Rejects when the consumer has stopped or stalled. Never resolves. */
  readonly failure: Promise<never>;
  /** Runs the handling of a batch, during which no fetch is expected. */
  during<T>(work: () => Promise<T>): Promise<T>;
  /** Stops the watchdog. */
  stop(): void;
}

/**
 * Starts the watchdog. A healthy consumer completes a fetch at least every few seconds, with or without
 * messages, unless it is busy with a batch.
 *
 * @param stallTimeoutMs longest time without a fetch
 */
export function watchConsumer(consumer: Consumer, stallTimeoutMs: number): ConsumerWatch {
  let lastSign = Date.now();
  let busy = 0;
  let fail: (error: Error) => void = () => undefined;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // It may reject while the consumer is still connecting, before anybody awaits it.
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
    fail(new ConsumerStalledError(`No fetch has completed for ${stallTimeoutMs} ms.`));
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
