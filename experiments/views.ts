/** Views of one product, sent by a foreign producer, and the collector's count of them. */
import { drain } from '../test/faults/drain';
import { endAll } from '../test/faults/faults';
import { resetOffsets } from '../test/faults/forgetting';
import { messageOf, produce, viewed, type ForeignEvent } from '../testkit/foreign-producer';
import type { Stack } from '../testkit/stack';

/** The product that is looked at. */
const productId = 'lamp';

/** Sends that many views. */
export async function sendViews(stack: Stack, count: number): Promise<readonly ForeignEvent[]> {
  const events = Array.from({ length: count }, () => viewed(productId));
  await produce(stack.kafka, 'catalog-events', events.map(messageOf));
  return events;
}

/** How many views are counted. */
export async function countedViews({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ count: number }>(
    'SELECT view_count AS count FROM collector.product_metrics WHERE product_id = $1',
    [productId],
  );
  return rows[0]?.count ?? 0;
}

/** Resolves when the bridge has passed everything on and no workflow is open. */
export async function atRest(stack: Stack): Promise<void> {
  // The duration is not judged, so any rate will do.
  await drain(stack, { rate: 1 });
}

/** Stops the bridges, and resets the offsets to the beginning. */
export async function rewind(stack: Stack): Promise<void> {
  await endAll(stack, 'bridge');
  await resetOffsets(stack);
}
