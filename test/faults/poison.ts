/** Messages of every kind that cannot be events. */
import { randomUUID } from 'node:crypto';
import type { Message } from 'kafkajs';
import { foreignEvent, produce, stockAdjusted, viewed } from '../integration/foreign-producer';
import type { Stack } from '../integration/stack';

/** A kind of poison, for a product or order of the ID given. */
type Poison = (id: string) => Message;

const json = (id: string, value: unknown): Message => ({ key: id, value: JSON.stringify(value) });

const kinds: Readonly<Record<string, Poison>> = {
  'bad JSON': (id) => ({ key: id, value: '{"specversion":"1.0",' }),
  'not text': (id) => ({ key: id, value: Buffer.from([0xff, 0xfe, 0x00, 0x80]) }),
  'unknown type': (id) => json(id, foreignEvent('ProductExploded', id, { productId: id })),
  'unknown schema version': (id) =>
    json(id, { ...viewed(id), dataschema: '/schemas/ProductViewed/99' }),
  'negative quantity': (id) => json(id, stockAdjusted(id, 1, -5, 0)),
  'close to 1 MiB': (id) => ({ key: id, value: Buffer.alloc(1_000_000, 'x') }),
  'null value': (id) => ({ key: id, value: null }),
  'reserved ID': (id) => json(id, { ...viewed(id), id: `order-${id}` }),
  'headers of garbage': (id) => ({
    key: id,
    value: 'garbage',
    headers: { ce_id: Buffer.from([0x80, 0x00]), traceparent: 'nonsense', 'a\0b': 'c' },
  }),
  'numbers past 2^53': (id) => ({
    key: id,
    value: JSON.stringify(stockAdjusted(id, 1, 7)).replace('"stock":7', '"stock":9007199254740993'),
  }),
  'text with NUL bytes': (id) => json(id, { ...viewed(id), source: 'a\0b' }),
  'another key': (id) => ({ key: id, value: JSON.stringify(viewed(`${id}-other`)) }),
};

/** Sends each kind to its topic, and a healthy event behind it; notes the keys of the poison. */
export async function sendPoison(stack: Stack, sent: Set<string>): Promise<void> {
  const messages = Object.values(kinds).map((make) => {
    const id = `poison-${randomUUID()}`;
    sent.add(id);
    return make(id);
  });
  await produce(stack.kafka, 'catalog-events', messages);
  const misplaced = `poison-${randomUUID()}`;
  sent.add(misplaced);
  await produce(stack.kafka, 'order-events', [json(misplaced, viewed(misplaced))]);
  if (!sent.has('')) {
    sent.add('');
    await produce(stack.kafka, 'catalog-events', [
      { key: null, value: JSON.stringify(viewed('without-a-key')) },
    ]);
  }
}
