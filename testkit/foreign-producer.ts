/** A producer that knows nothing of this project but its contract: JSON, key, topic. */
import { randomUUID } from 'node:crypto';
import type { Kafka, Message } from 'kafkajs';

/** An event as a stranger writes it by hand. */
export interface ForeignEvent {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly [attribute: string]: unknown;
}

/** An event of `type` about `subject`; anything may be overridden. */
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

/** A `ProductViewed` of somebody. */
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

/** The message that carries an event as the contract says. */
export function messageOf(event: ForeignEvent): Message {
  return { key: event.subject, value: JSON.stringify(event) };
}

/** Sends messages with a plain producer; returns where the first one of each partition went. */
export async function produce(kafka: Kafka, topic: string, messages: Message[]) {
  const producer = kafka.producer();
  await producer.connect();
  try {
    return await producer.send({ topic, messages, acks: -1 });
  } finally {
    await producer.disconnect();
  }
}
