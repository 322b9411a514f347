/**
 * The acknowledged event that a Kafka client lost. Idempotent kafkajs producers with many sends at
 * once, and our sender with one at a time, while the broker is frozen for longer than a request may take.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafka, createTopics, type KafkaClient } from '../platform/kafka/client';
import { kafkajsOf } from '../platform/kafka/kafkajs';
import { createKafkaSender } from '../platform/kafka/sender';
import { createLogger } from '../platform/observability/logger';
import { freezeFor } from '../test/faults/servers';
import { createStack, type Stack } from '../testkit/stack';
import { readTopic } from '../testkit/topic-reader';
import { until } from '../testkit/until';
import type { Experiment } from './experiment';

const rounds = 3;
const clients = 20;
const requestTimeoutMs = 4_000;
const frozenMs = 6_000;

const logger = createLogger('experiment', 'silent');

export const concurrentSends: Experiment = {
  name: 'concurrent-sends',
  question: 'Is an event that the producer reports as acknowledged in the topic, exactly once?',
  columns: ['round', 'producer', 'acknowledged', 'lost', 'doubled'],
  async run() {
    const stack = await createStack([]);
    const options = { clientId: 'experiment', requestTimeoutMs };
    const kafka = createKafka(stack.config, logger, options);
    try {
      const rows = [];
      for (let round = 1; round <= rounds; round += 1) {
        for (const [name, connect] of Object.entries(producers)) {
          rows.push([round, name, ...(await sendWhileFrozen(stack, kafka, connect))]);
        }
      }
      return {
        rows,
        remarks: [
          `${clients} callers; the broker is frozen for ${frozenMs / 1_000} s, a request may take ${requestTimeoutMs / 1_000} s.`,
          'kafkajs is set to acks=-1, idempotent, and retries, with up to five requests in flight or one. No caller was told of an error for what counts as acknowledged.',
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

interface Producer {
  send(topic: string, value: string): Promise<unknown>;
  stop(): Promise<void>;
}

const producers: Readonly<Record<string, (kafka: KafkaClient) => Promise<Producer>>> = {
  'kafkajs, sends side by side': (kafka) => connectPlain(kafka, 5),
  'the same, one request in flight': (kafka) => connectPlain(kafka, 1),
  async 'ours, a single flight'(kafka) {
    const sender = createKafkaSender(kafka, logger);
    await until('the sender is connected', () => sender.isConnected());
    return {
      send: (topic, value) => sender.send([{ topic, key: 'one key', value, headers: {} }]),
      stop: () => sender.stop(),
    };
  },
};

async function connectPlain(kafka: KafkaClient, maxInFlightRequests: number): Promise<Producer> {
  const producer = kafkajsOf(kafka).producer({ idempotent: true, maxInFlightRequests });
  await producer.connect();
  return {
    send: (topic, value) =>
      producer.send({ topic, acks: -1, messages: [{ key: 'one key', value }] }),
    stop: () => producer.disconnect(),
  };
}

async function sendWhileFrozen(
  stack: Stack,
  kafka: KafkaClient,
  connect: (kafka: KafkaClient) => Promise<Producer>,
): Promise<[acknowledged: number, lost: number, doubled: number]> {
  const topic = `sends-${randomUUID()}`;
  await createTopics(kafka, [{ topic, partitions: 1 }]);
  const producer = await connect(kafka);
  const acknowledged: string[] = [];
  const stopping = { now: false };
  const callers = Array.from({ length: clients }, async () => {
    while (!stopping.now) {
      const value = randomUUID();
      // A caller with an error knows that the event may be lost, and would retry.
      const isSent = await producer.send(topic, value).then(
        () => true,
        () => false,
      );
      if (isSent) acknowledged.push(value);
      await sleep(20);
    }
  });
  await sleep(1_000);
  await freezeFor({ stack }, 'kafka', frozenMs);
  await sleep(3_000);
  stopping.now = true;
  await Promise.all(callers);
  await producer.stop();
  const copies = new Map<string, number>();
  for (const { value } of await readTopic(stack.kafka, topic)) {
    copies.set(value, (copies.get(value) ?? 0) + 1);
  }
  return [
    acknowledged.length,
    acknowledged.filter((value) => !copies.has(value)).length,
    acknowledged.filter((value) => (copies.get(value) ?? 0) > 1).length,
  ];
}
