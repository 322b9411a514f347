/** A producer that knows only the contract: JSON, key, topic. */
import { randomUUID } from 'node:crypto';
import type { Kafka, Message } from 'kafkajs';

/** An event as another producer writes it. */
export interface ForeignEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly [attribute: string]: unknown;
}

/** An event of `type` about `subject`; any field can be overridden. */
export function foreignEvent(
  type: string,
  subject: string,
  data: Readonly<Record<string, unknown>>,
  overrides: Readonly<Record<string, unknown>> = {},
): ForeignEvent {
  return {
    specversion: '1.0',
    id: randomUUID(),
    source: '/somebody-else',
    type,
    subject,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    dataschema: `/schemas/${type}/1`,
    data,
    ...overrides,
  };
}

export function viewed(productId: string, userId?: string): ForeignEvent {
  return foreignEvent('ProductViewed', productId, { productId, ...(userId ? { userId } : {}) });
}

/** A `StockAdjusted` to `stock` in `version`. */
export function stockAdjusted(
  productId: string,
  version: number,
  stock: number,
  previousStock = stock + 1,
): ForeignEvent {
  const delta = stock - previousStock;
  const data = { productId, delta, stock, previousStock, reason: 'correction', version };
  return foreignEvent('StockAdjusted', productId, data);
}

/** The message of an event, as in the contract. */
export function messageOf(event: ForeignEvent): Message {
  return { key: event.subject, value: JSON.stringify(event) };
}

/** Sends messages with a plain producer; returns the first offset in each partition. */
export async function produce(kafka: Kafka, topic: string, messages: Message[]) {
  const producer = kafka.producer();
  await producer.connect();
  try {
    return await producer.send({ topic, messages, acks: -1 });
  } finally {
    await producer.disconnect();
  }
}
