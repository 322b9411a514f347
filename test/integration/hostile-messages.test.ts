/**
 * Messages of others that a client can make and this pipeline would not: every codec, headers of any
 * bytes, sizes beyond what Temporal carries, bombs. Behind each of them a healthy event on the same
 * partition is handled, and nothing stays behind in the end.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { CompressionTypes, ConfigResourceTypes, type Message } from 'kafkajs';
import { decodeHeader, type ReceivedHeader } from '../../events/received';
import { eventTopics } from '../../events/topics';
import { readConsumerLag, totalLag } from '../../platform/kafka/consumer-lag';
import { readEntryAt } from '../../platform/kafka/partition-log';
import { asProducerHeaders, sendHeaderLists } from '../../platform/kafka/protocol';
import type { RecordHeader } from '../../platform/kafka/record-batch';
import { messageOf, produce, viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';

const topic = 'catalog-events';
let stack: Stack;

beforeAll(async () => {
  sendHeaderLists();
  stack = await createStack(['api', 'worker:commerce', 'worker:collector', 'bridge']);
});

afterAll(() => stack?.stop());

async function handled(eventId: string): Promise<boolean> {
  const { rowCount } = await stack.pool.query(
    'SELECT 1 FROM collector.event_handled WHERE event_id = $1',
    [eventId],
  );
  return rowCount === 1;
}

/** Sends a message, then an event with the same key, and waits until that event is handled. */
async function withHealthyBehind(message: Message, timeoutMs = 30_000): Promise<number> {
  const behind = viewed(String(message.key));
  const [place] = await produce(stack.kafka, topic, [message]);
  await produce(stack.kafka, topic, [messageOf(behind)]);
  await until('the one behind it is handled', () => handled(behind.id), { timeoutMs });
  return Number(place!.baseOffset);
}

interface Letter {
  readonly id: number;
  readonly partition: number;
  readonly offset: number;
  readonly last_offset: number | null;
  readonly reason: string;
  readonly value: Buffer | null;
  readonly headers: readonly ReceivedHeader[];
  readonly copied: boolean;
  readonly copy_error: string | null;
}

function letterOf(key: string, value: Buffer): Promise<Letter> {
  return until('it is parked', async () => {
    const { rows } = await stack.pool.query<Letter>(
      'SELECT * FROM collector.dead_letters WHERE key = $1 AND value = $2',
      [Buffer.from(key), value],
    );
    return rows[0];
  });
}

async function sendWithAnotherClient(codec: string, events: readonly ForeignEvent[]) {
  const script = path.join(__dirname, '..', '..', 'testkit', 'foreign-client.mjs');
  const brokers = stack.config.KAFKA_BROKERS.join(',');
  const client = spawn(process.execPath, [script, brokers, codec], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  for (const event of events) {
    const sent = { key: base64(event.subject), value: base64(JSON.stringify(event)), headers: [] };
    client.stdin.write(`${JSON.stringify({ topic, ...sent })}\n`);
  }
  client.stdin.end();
  expect(await once(client, 'exit')).toEqual([0, null]);
}

test.each(['gzip', 'snappy', 'lz4'])(
  'what another client compressed with %s is handled',
  async (codec) => {
    const events = Array.from({ length: 40 }, (_, index) => viewed(`${codec}-${index}`));
    await sendWithAnotherClient(codec, events);
    for (const { id } of events) await until('each is handled', () => handled(id));
  },
);

test.each(['lz4', 'snappy', 'zstd'])(
  'a topic that compresses with %s itself is read',
  async (codec) => {
    const admin = stack.kafka.admin();
    await admin.connect();
    const compressWith = (value: string) =>
      admin.alterConfigs({
        validateOnly: false,
        resources: [
          {
            type: ConfigResourceTypes.TOPIC,
            name: topic,
            configEntries: [{ name: 'compression.type', value }],
          },
        ],
      });
    try {
      await compressWith(codec);
      const body = { name: 'a lamp', price: 4_900, stock: 3 };
      const idempotencyKey = `compressed-${codec}`;
      const created = await stack.call('POST', '/v1/products', { body, idempotencyKey });
      await until('its event is handled', async () => {
        const { rowCount } = await stack.pool.query(
          'SELECT 1 FROM collector.product_metrics WHERE product_id = $1 AND stock = 3',
          [created.body.productId],
        );
        return rowCount === 1;
      });
    } finally {
      await compressWith('producer');
      await admin.disconnect();
    }
  },
);

const strangeHeaders: RecordHeader[] = (
  [
    ['constructor', 'x'],
    ['__proto__', 'y'],
    ['toString', null],
    ['', ''],
    [Buffer.from([0xff, 0x00, 0xfe]), Buffer.from([0x00, 0xff])],
    ['2', 'b'],
    ['1', 'a'],
    ['d', 'x'],
    ['e', null],
    ['d', 'y'],
    ['empty', ''],
  ] as const
).map(([name, value]) => ({
  name: Buffer.from(name),
  value: value === null ? null : Buffer.from(value),
}));

test('an event is handled whatever its headers are', async () => {
  const event = viewed('headers');
  await withHealthyBehind({ ...messageOf(event), headers: asProducerHeaders(strangeHeaders) });
  await until('it is handled', () => handled(event.id));
});

test('a parked message keeps its headers byte for byte in their order, and is redriven with the same', async () => {
  const value = Buffer.from('no event, with strange headers');
  const headers = asProducerHeaders(strangeHeaders);
  await withHealthyBehind({ key: 'headers', value, headers });
  const letter = await letterOf('headers', value);
  expect(letter.headers.map(decodeHeader)).toEqual(strangeHeaders);

  const route = `/v1/dead-letters/${letter.id}/redrive`;
  const answer = await stack.call('POST', route, { body: {}, idempotencyKey: 'strange-headers' });
  expect(answer.status).toBe(200);
  const sent = await readEntryAt(stack.kafka, answer.body.sentTo);
  const own = { name: Buffer.from('redriven_from'), value: Buffer.from(String(letter.id)) };
  expect(sent).toMatchObject({ kind: 'record', value, headers: [...strangeHeaders, own] });
});

const manyHeaders = Array.from({ length: 100_000 }, (_, index) => ({
  name: Buffer.from(`h${index % 7}`),
  value: Buffer.from('v'),
}));

test('100,000 headers hold their partition up for less than ten seconds', async () => {
  const event = viewed('many-headers');
  const headers = asProducerHeaders(manyHeaders);
  await withHealthyBehind({ ...messageOf(event), headers }, 10_000);
  await until('it is handled', () => handled(event.id));

  const value = Buffer.from('no event, with many headers');
  await withHealthyBehind({ key: 'many-headers', value, headers }, 10_000);
  const letter = await letterOf('many-headers', value);
  const bytesOf = (headers: readonly RecordHeader[]) =>
    Buffer.concat(headers.flatMap(({ name, value }) => [name, Buffer.from([0]), value!]));
  expect(bytesOf(letter.headers.map(decodeHeader)).equals(bytesOf(manyHeaders))).toBe(true);
}, 90_000);

async function limitMessagesTo(bytes: number | undefined): Promise<void> {
  const admin = stack.kafka.admin();
  await admin.connect();
  const configEntries =
    bytes === undefined ? [] : [{ name: 'max.message.bytes', value: String(bytes) }];
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configEntries };
  await admin.alterConfigs({ validateOnly: false, resources: [resource] });
  await admin.disconnect();
}

test('messages that Temporal does not carry are parked whole, and can be redriven', async () => {
  await limitMessagesTo(8 * 1024 * 1024);
  try {
    for (const megabytes of [3, 6]) {
      const value = randomBytes(megabytes * 1024 * 1024);
      await withHealthyBehind({ key: 'large', value });
      const letter = await letterOf('large', value);
      expect(letter).toMatchObject({ reason: 'TOO_LARGE', last_offset: null });
      const settled = await until('the dead-letter topic has refused the copy', async () => {
        const { rows } = await stack.pool.query<Letter>(
          'SELECT copied, copy_error FROM collector.dead_letters WHERE id = $1',
          [letter.id],
        );
        return rows[0]!.copy_error === null ? undefined : rows[0];
      });
      expect(settled.copied).toBe(false);

      const route = `/v1/dead-letters/${letter.id}/redrive`;
      const idempotencyKey = `large-${megabytes}`;
      const answer = await stack.call('POST', route, { body: {}, idempotencyKey });
      expect(answer.status).toBe(200);
      const sent = await readEntryAt(stack.kafka, answer.body.sentTo);
      if (sent?.kind !== 'record') throw new Error('It must be a message.');
      const hashOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
      expect(hashOf(sent.value!)).toBe(hashOf(value));
    }
    await untilNothingIsBehind();
  } finally {
    await limitMessagesTo(undefined);
  }
}, 120_000);

test('a batch that unpacks to more than is taken is parked by its offsets, and never redriven', async () => {
  const producer = stack.kafka.producer();
  await producer.connect();
  const messages = Array.from({ length: 70 }, () => ({
    key: 'bomb',
    value: Buffer.alloc(1_000_000),
  }));
  await producer.send({ topic, messages, acks: -1, compression: CompressionTypes.GZIP });
  await producer.disconnect();
  const behind = viewed('bomb');
  await produce(stack.kafka, topic, [messageOf(behind)]);
  await until('the one behind it is handled', () => handled(behind.id));

  const letter = await until('it is parked', async () => {
    const { rows } = await stack.pool.query<Letter>(
      `SELECT * FROM collector.dead_letters WHERE reason = 'UNPACKS_TOO_LARGE'`,
    );
    return rows[0];
  });
  expect(letter.last_offset! - letter.offset).toBe(69);
  expect(letter.value!.length).toBeLessThan(1_000_000);
  const redriven = await stack.call('POST', `/v1/dead-letters/${letter.id}/redrive`, {
    body: {},
    idempotencyKey: 'bomb',
  });
  expect(redriven).toMatchObject({ status: 409, body: { code: 'UNREADABLE' } });
  const discarded = await stack.call('POST', `/v1/dead-letters/${letter.id}/discard`, {
    body: { reason: 'a bomb' },
    idempotencyKey: 'bomb-discarded',
  });
  expect(discarded.status).toBe(200);
}, 90_000);

async function untilNothingIsBehind(): Promise<void> {
  await until('nothing is behind', async () => {
    const lag = await readConsumerLag(stack.kafka, stack.config.BRIDGE_GROUP_ID, eventTopics);
    return totalLag(lag) === 0;
  });
}

test('in the end no partition of either topic is behind', untilNothingIsBehind);
