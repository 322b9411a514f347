/** Messages of every kind that cannot be events, and the books of what was sent. */
import { produce } from '../../testkit/foreign-producer';
import { createPoison } from '../../testkit/foreign-messages';
import type { Stack } from '../../testkit/stack';

/** How many poison messages were sent with each key; a missing key counts as an empty one. */
export type PoisonCounts = Map<string, number>;

/** Sends one of each kind, and notes it. */
export async function sendPoison({ kafka }: Stack, sent: PoisonCounts): Promise<void> {
  for (const { topic, key, value, headers = [] } of createPoison()) {
    const named = Object.fromEntries(headers.map(([name, text]) => [name.toString(), text]));
    await produce(kafka, topic, [{ key, value, headers: named }]);
    sent.set(key ?? '', (sent.get(key ?? '') ?? 0) + 1);
  }
}
