import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createKafka, createTopics } from '../../platform/kafka/client';
import { kafkajsOf } from '../../platform/kafka/kafkajs';
import {
  createKafkaSender,
  KafkaUnavailableError,
  MessageTooLargeError,
  type Delivery,
  type KafkaSender,
  type KafkaSenderOptions,
} from '../../platform/kafka/sender';
import { createLogger } from '../../platform/observability/logger';
import { readTopic } from '../../testkit/topic-reader';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');
let stack: Stack;
let kafka: Stack['kafka'];
const topics: string[] = [];
const senders: KafkaSender[] = [];

beforeAll(async () => {
  stack = await createStack([]);
  kafka = kafkajsOf(
    createKafka(stack.config, logger, { clientId: 'sender-test', requestTimeoutMs: 4_000 }),
  );
});

afterEach(async () => {
  await Promise.all(senders.splice(0).map((sender) => sender.stop()));
});

afterAll(async () => {
  const admin = kafka.admin();
  await admin.connect();
  await admin.deleteTopics({ topics });
  await admin.disconnect();
  await stack.stop();
});

async function createTopic(settings: Readonly<Record<string, string>> = {}): Promise<string> {
  const topic = `sender-${randomUUID()}`;
  await createTopics(kafka, [{ topic, partitions: 6, settings }]);
  topics.push(topic);
  return topic;
}

async function connectedSender(
  options: KafkaSenderOptions = {},
  client: Stack['kafka'] = kafka,
): Promise<KafkaSender> {
  const sender = createKafkaSender(client, logger, options);
  senders.push(sender);
  await until('the sender is connected', () => sender.isConnected());
  return sender;
}

/** A client that counts the requests which are made through it. */
function countRequests(client: Stack['kafka']): {
  client: Stack['kafka'];
  requests(): number;
} {
  let requests = 0;
  const counting = Object.create(client, {
    producer: {
      value: (...options: Parameters<Stack['kafka']['producer']>) => {
        const producer = client.producer(...options);
        const sendBatch: typeof producer.sendBatch = (batch) => {
          requests += 1;
          return producer.sendBatch(batch);
        };
        return { ...producer, sendBatch };
      },
    },
  }) as Stack['kafka'];
  return { client: counting, requests: () => requests };
}

async function kafkaProcess(): Promise<number> {
  const status = await stack.cluster.status();
  const pid = status.find(({ name }) => name === 'kafka')?.pid;
  if (pid === undefined) throw new Error('Kafka does not run.');
  return pid;
}

interface Acknowledged {
  readonly publisher: string;
  readonly value: string;
  readonly delivery: Delivery;
}

/** Sends one message after the other, two under way at a time, until it is over. */
async function publishUntil(
  over: () => boolean,
  sender: KafkaSender,
  topic: string,
  publisher: string,
): Promise<Acknowledged[]> {
  // The brokers know a repeat by its partition, so those that may go to any are in danger too.
  const key = publisher === 'publisher-0' ? null : publisher;
  const acknowledged: Acknowledged[] = [];
  for (let count = 0; !over(); count += 2) {
    const pair = [count, count + 1].map(async (number) => {
      const value = `${publisher}/${number}`;
      const [delivery] = await sender.send([{ topic, key, value }]);
      return { publisher, value, delivery: delivery! };
    });
    acknowledged.push(...(await Promise.all(pair)));
  }
  return acknowledged;
}

test('20 publishers lose and double nothing when the broker freezes, and learn where each message went', async () => {
  const topic = await createTopic();
  // Whatever waits behind the frozen request goes out later.
  const sender = await connectedSender({ stalledAfterMs: 30_000 });
  const pid = await kafkaProcess();
  let over = false;
  const publishers = Array.from({ length: 20 }, (_, index) =>
    publishUntil(() => over, sender, topic, `publisher-${index}`),
  );
  for (const publisher of publishers) publisher.catch(() => undefined);
  await sleep(500);
  process.kill(pid, 'SIGSTOP');
  try {
    // Longer than the request timeout: it is retried while the broker is frozen.
    await sleep(6_000);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await sleep(1_000);
  over = true;
  const acknowledged = (await Promise.all(publishers)).flat();

  const inTopic = await readTopic(kafka, topic);
  expect(inTopic).toHaveLength(acknowledged.length);
  const places = new Map(inTopic.map(({ value, ...place }) => [value, place]));
  for (const { value, delivery } of acknowledged) {
    expect(places.get(value)).toMatchObject(delivery);
  }
  for (let index = 1; index < 20; index += 1) {
    const key = `publisher-${index}`;
    const values = inTopic.filter((message) => message.key === key).map(({ value }) => value);
    expect(values.length).toBeGreaterThan(0);
    expect(values).toEqual(values.map((_, number) => `${key}/${number}`));
  }
  expect(sender.isConnected()).toBe(true);
}, 30_000);

test('1,000 concurrent sends need a fraction of as many requests, and keep their order', async () => {
  const topic = await createTopic();
  const { client, requests } = countRequests(kafka);
  const sender = await connectedSender({}, client);
  const deliveries = await Promise.all(
    Array.from({ length: 1_000 }, (_, number) =>
      sender.send([{ topic, key: `key-${number % 7}`, value: String(number) }]),
    ),
  );
  expect(requests()).toBeLessThanOrEqual(3);
  const inTopic = await readTopic(kafka, topic);
  expect(inTopic).toHaveLength(1_000);
  for (const { value, partition, offset } of inTopic) {
    expect(deliveries[Number(value)]).toEqual([{ partition, offset }]);
  }
  const numbersOfKey = inTopic
    .filter(({ key }) => key === 'key-3')
    .map(({ value }) => Number(value));
  expect(numbersOfKey).toEqual([...numbersOfKey].sort((one, other) => one - other));
});

test('one call may carry many messages, to several topics, and is answered in its order', async () => {
  const [one, other] = [await createTopic(), await createTopic()];
  // Far too small for all of them together.
  const sender = await connectedSender({ maxRequestBytes: 100 });
  const messages = Array.from({ length: 50 }, (_, number) => ({
    topic: number % 3 === 0 ? one : other,
    key: `key-${number % 5}`,
    value: `value-${number}`,
    headers: { number: String(number) },
  }));
  const deliveries = await sender.send(messages);
  for (const topic of [one, other]) {
    for (const { value, partition, offset, headers } of await readTopic(kafka, topic)) {
      const number = messages.findIndex((message) => message.value === value);
      expect(messages[number]?.topic).toBe(topic);
      expect(deliveries[number]).toEqual({ partition, offset });
      expect(String(headers['number'])).toBe(String(number));
    }
  }
  expect(await sender.send([])).toEqual([]);
});

describe('a message that Kafka rejects as too large', () => {
  const tooLarge = 'x'.repeat(1_100_000);

  test('is refused, and those around it are delivered once', async () => {
    const topic = await createTopic();
    const sender = await connectedSender();
    const small = (number: number) =>
      sender.send([{ topic, key: `key-${number}`, value: `value-${number}` }]);
    const before = Array.from({ length: 10 }, (_, number) => small(number));
    const large = sender.send([{ topic, key: 'large', value: tooLarge }]);
    const after = Array.from({ length: 10 }, (_, number) => small(10 + number));
    await expect(large).rejects.toBeInstanceOf(MessageTooLargeError);
    await expectDelivered(topic, [...before, ...after]);
    await expect(small(20)).resolves.toHaveLength(1);
  });

  test('is refused also in one request with others, and those are delivered', async () => {
    // A topic that takes less than the sender puts into one request.
    const topic = await createTopic({ 'max.message.bytes': '20000' });
    const sender = await connectedSender();
    const small = Array.from({ length: 100 }, (_, number) => {
      const sent = sender.send([{ topic, key: `key-${number % 13}`, value: `value-${number}` }]);
      sent.catch(() => undefined);
      return sent;
    });
    const large = sender.send([{ topic, key: 'key-1', value: 'x'.repeat(30_000) }]);
    await expect(large).rejects.toBeInstanceOf(MessageTooLargeError);
    const deliveries = (await Promise.all(small)).flat();
    const inTopic = await readTopic(kafka, topic);
    expect(new Set(inTopic.map(({ value }) => value)).size).toBe(100);
    deliveries.forEach((delivery, number) => {
      expect(inTopic).toContainEqual(
        expect.objectContaining({ value: `value-${number}`, ...delivery }),
      );
    });
    await expect(sender.send([{ topic, key: 'a', value: 'b' }])).resolves.toHaveLength(1);
  });

  test('makes what follows it in the same call fail, so that nothing overtakes it', async () => {
    const topic = await createTopic();
    const sender = await connectedSender();
    const call = sender.send(
      ['first', tooLarge, 'last'].map((value) => ({ topic, key: 'key', value })),
    );
    await expect(call).rejects.toBeInstanceOf(MessageTooLargeError);
    await sender.send([{ topic, key: 'key', value: 'next' }]);
    const values = (await readTopic(kafka, topic)).map(({ value }) => value);
    expect(values).toEqual(['first', 'next']);
  });

  async function expectDelivered(topic: string, sends: Promise<Delivery[]>[]): Promise<void> {
    const deliveries = (await Promise.all(sends)).flat();
    const inTopic = await readTopic(kafka, topic);
    expect(inTopic).toHaveLength(deliveries.length);
    deliveries.forEach((delivery, number) => {
      expect(inTopic).toContainEqual(
        expect.objectContaining({ value: `value-${number}`, ...delivery }),
      );
    });
  }
});

test('while the broker is stopped a send is refused at once, and goes out when it is back', async () => {
  const topic = await createTopic();
  const sender = await connectedSender({ retries: 1 });
  const send = () => sender.send([{ topic, key: 'key', value: randomUUID() }]);
  await send();
  await stack.cluster.stop('kafka');
  try {
    await expect(send()).rejects.toBeInstanceOf(KafkaUnavailableError);
    expect(sender.isConnected()).toBe(false);
    const startedAt = performance.now();
    await expect(send()).rejects.toBeInstanceOf(KafkaUnavailableError);
    expect(performance.now() - startedAt).toBeLessThan(50);
  } finally {
    await stack.cluster.start('kafka');
  }
  await until('it has come back by itself', () => sender.isConnected());
  const [delivery] = await until('a send goes through', send);
  expect((await readTopic(kafka, topic)).at(-1)).toMatchObject(delivery!);
}, 60_000);

test('what was handed over before it stops is sent, and what comes after is refused', async () => {
  const topic = await createTopic();
  const sender = await connectedSender();
  const handedOver = Promise.all(
    Array.from({ length: 20 }, () => sender.send([{ topic, key: null, value: 'value' }])),
  );
  await sender.stop();
  await expect(handedOver).resolves.toHaveLength(20);
  expect(await readTopic(kafka, topic)).toHaveLength(20);
  await expect(sender.send([{ topic, key: null, value: 'late' }])).rejects.toBeInstanceOf(
    KafkaUnavailableError,
  );
});
