/** Events that come at a steady rate, beside whatever else a test does. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka, Message } from 'kafkajs';

export interface SteadyLoad {
  /** Ends it; resolves when the last messages are acknowledged. Rejects if a send has failed. */
  stop(): Promise<void>;
}

/** Sends what `next` makes for each turn, and sleeps for `everyMs` behind each acknowledgement. */
export function startSteadyLoad(
  kafka: Kafka,
  topic: string,
  everyMs: number,
  next: (turn: number) => { readonly messages: Message[]; onSent(): void },
): SteadyLoad {
  let stopping = false;
  const produceOn = async (): Promise<void> => {
    const producer = kafka.producer();
    await producer.connect();
    for (let turn = 0; !stopping; turn += 1) {
      const { messages, onSent } = next(turn);
      await producer.send({ topic, messages, acks: -1 });
      onSent();
      await sleep(everyMs);
    }
    await producer.disconnect();
  };
  const running = produceOn();
  // A failure is told by `stop`.
  running.catch(() => undefined);
  return {
    async stop() {
      stopping = true;
      await running;
    },
  };
}
