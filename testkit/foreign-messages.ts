/**
 * Messages of other producers: events of every type with known sums, invalid messages of every
 * kind, and a Kafka client that the project does not use.
 */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { aggregateIdOf, type Event } from '../events/envelope';
import { definitionOf, eventTypes } from '../events/schemas';
import { dataSchemaOf, type DataSchema } from './event-arbitraries';
import type { Random } from './random';
import {
  foreignEvent,
  produce,
  stockAdjusted,
  viewed,
  type ForeignEvent,
} from './foreign-producer';
import type { Stack } from './stack';

/** A message for any client. */
export interface ForeignMessage {
  readonly topic: string;
  readonly key: string | null;
  readonly value: Buffer | null;
  readonly headers?: readonly (readonly [name: Buffer, value: Buffer])[];
}

/** An invalid message, and why. */
export interface PoisonMessage extends ForeignMessage {
  /** The expected reason of its dead letter. */
  readonly reason: string;
}

/**
 * Sends messages with a Kafka client that the project does not use; resolves once all are
 * acknowledged. That client writes empty bytes for a missing key or value: those few are sent with
 * kafkajs.
 */
export async function sendWithForeignClient(
  { kafka, config }: Pick<Stack, 'kafka' | 'config'>,
  messages: readonly ForeignMessage[],
): Promise<void> {
  const lacksPart = ({ key, value }: ForeignMessage): boolean => key === null || value === null;
  await runForeignClient(
    config.KAFKA_BROKERS,
    messages.filter((message) => !lacksPart(message)),
  );
  for (const { topic, key, value } of messages.filter(lacksPart)) {
    await produce(kafka, topic, [{ key, value }]);
  }
}

async function runForeignClient(
  brokers: readonly string[],
  messages: readonly ForeignMessage[],
): Promise<void> {
  const client = spawn(
    process.execPath,
    [path.join(__dirname, 'foreign-client.mjs'), brokers.join(',')],
    { stdio: ['pipe', 'inherit', 'pipe'] },
  );
  let problem = '';
  client.stderr.on('data', (chunk: Buffer) => (problem += chunk.toString()));
  const exited = once(client, 'exit') as Promise<[number | null]>;
  try {
    await pipeline(Readable.from(messages.map(toLine)), client.stdin);
    const [exitCode] = await exited;
    if (exitCode !== 0) throw new Error(`The foreign client failed (${exitCode}): ${problem}`);
  } finally {
    client.kill('SIGKILL');
  }
}

function toLine({ topic, key, value, headers = [] }: ForeignMessage): string {
  return `${JSON.stringify({
    topic,
    key: Buffer.from(key ?? '').toString('base64'),
    value: value?.toString('base64') ?? '',
    headers: headers.map((pair) => pair.map((bytes) => bytes.toString('base64'))),
  })}\n`;
}

/** The message of an event, as in the contract. */
export function toForeignMessage(event: Event): ForeignMessage {
  const { topic } = definitionOf(event.type);
  return { topic, key: event.subject, value: Buffer.from(JSON.stringify(event)) };
}

const productCount = 40;
const userCount = 25;
const firstTime = Date.UTC(2026, 0, 1, 22);
const timeSpanMs = 28 * 3_600_000;

/**
 * Distinct valid events, equally many of each type, made from their schemas: about a few products and
 * users, with versions that count up for each aggregate.
 */
export function createForeignEvents(count: number, random: Random): Event[] {
  const versions = new Map<string, number>();
  return Array.from({ length: count }, (_, index) => {
    const type = eventTypes[index % eventTypes.length]!;
    const data = createObject(dataSchemaOf(type), random);
    const subject = aggregateIdOf(type, data);
    if ('version' in data) {
      data['version'] = (versions.get(subject) ?? 0) + 1;
      versions.set(subject, data['version'] as number);
    }
    const time = new Date(firstTime + random.below(timeSpanMs)).toISOString();
    return foreignEvent(type, subject, data, { time }) as unknown as Event;
  });
}

function createObject({ properties = {}, required = [] }: DataSchema, random: Random) {
  const fields = Object.entries(properties).filter(
    ([name]) => required.includes(name) || random.below(2) === 0,
  );
  return Object.fromEntries(
    fields.map(([name, field]): [string, unknown] => [name, createValue(name, field, random)]),
  );
}

function createValue(name: string, schema: DataSchema, random: Random): unknown {
  const { type, minimum = -1_000, maximum = Infinity } = schema;
  switch (type) {
    case 'object':
      return createObject(schema, random);
    case 'array':
      return Array.from({ length: 1 + random.below(3) }, () =>
        createValue(name, schema.items!, random),
      );
    case 'integer': {
      const least = Math.max(minimum, -1_000);
      return least + random.below(Math.min(maximum - least + 1, 5_000));
    }
    case 'boolean':
      return random.below(2) === 0;
    case 'string':
      return createText(name, schema, random);
  }
}

function createText(name: string, { enum: choices }: DataSchema, random: Random): string {
  if (choices !== undefined) return choices[random.below(choices.length)]!;
  if (name === 'productId') return `product-${random.below(productCount)}`;
  if (name === 'userId') return `user-${random.below(userCount)}`;
  return name.endsWith('Id') ? randomUUID() : `some ${name}`;
}

/** One invalid message of each kind, each with a key or an ID of its own. */
export function createPoison(): PoisonMessage[] {
  return Object.entries(poisonKinds).map(([reasonAndKind, create]) => {
    const reason = reasonAndKind.split(':')[0]!;
    return { topic: 'catalog-events', reason, ...create(`poison-${randomUUID()}`) };
  });
}

/** Creates a poison message for a product. */
type Poison = (id: string) => Omit<ForeignMessage, 'topic'> & { readonly topic?: string };

const json = (key: string | null, event: ForeignEvent | object) => ({
  key,
  value: Buffer.from(JSON.stringify(event)),
});

const poisonKinds: Readonly<Record<string, Poison>> = {
  'NOT_JSON: JSON cut off': (id) => ({ key: id, value: Buffer.from('{"specversion":"1.0",') }),
  'NOT_JSON: plain text': (id) => ({ key: id, value: Buffer.from('hello') }),
  'NOT_UTF8: bytes': (id) => ({ key: id, value: Buffer.from([0xff, 0xfe, 0x00, 0x80]) }),
  'UNKNOWN_TYPE: a type': (id) => json(id, foreignEvent('ProductExploded', id, { productId: id })),
  'UNKNOWN_SCHEMA_VERSION: a version': (id) =>
    json(id, { ...viewed(id), dataschema: '/schemas/ProductViewed/99' }),
  'INVALID_DATA: a negative quantity': (id) => ({
    ...json(id, foreignEvent('OrderConfirmed', id, negativeOrder(id))),
    topic: 'order-events',
  }),
  'TOO_LARGE: close to 1 MiB': (id) => ({ key: id, value: Buffer.alloc(1_000_000, 'x') }),
  'NOT_JSON: an empty value': (id) => ({ key: id, value: Buffer.alloc(0) }),
  'NULL_VALUE: a tombstone': (id) => ({ key: id, value: null }),
  'MISSING_KEY: no key': (id) => json(null, viewed(id)),
  'KEY_MISMATCH: an empty key': (id) => json('', viewed(id)),
  'KEY_MISMATCH: the key of another': (id) => json(id, viewed(`${id}-other`)),
  'WRONG_TOPIC: a view among orders': (id) => ({ ...json(id, viewed(id)), topic: 'order-events' }),
  'RESERVED_ID: the ID of a workflow': (id) => json(id, { ...viewed(id), id: `order-${id}` }),
  'NOT_JSON: headers of garbage': (id) => ({
    key: id,
    value: Buffer.from('garbage'),
    headers: [
      [Buffer.from('ce_id'), Buffer.from([0x80, 0x00])],
      [Buffer.from('a\0b'), Buffer.from('c')],
      [Buffer.from('traceparent'), Buffer.from('nonsense')],
    ],
  }),
  'UNSTORABLE_JSON: a number past 2^53': (id) => ({
    key: id,
    value: Buffer.from(
      JSON.stringify(stockAdjusted(id, 1, 7)).replace('"stock":7', '"stock":9007199254740993'),
    ),
  }),
  'UNSTORABLE_JSON: text with a NUL': (id) => json(id, { ...viewed(id), source: 'a\0b' }),
};

function negativeOrder(orderId: string) {
  const items = [{ productId: 'product-1', quantity: -1, unitPrice: 1 }];
  return { orderId, userId: 'user-1', items, totalAmount: 1 };
}
