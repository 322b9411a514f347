/** Steps: an outage of Kafka. Orders are taken meanwhile, and their events arrive after it, once. */
import { confirm, eventually } from './confirm';
import { placeOrder, type StoryOrder } from './place-orders';
import type { StoryProduct } from './register-product';
import type { World } from './world';

/** Stops every broker and orders one unit: the order is confirmed, and its events wait. */
export async function orderWithoutKafka(
  world: World,
  { productId }: StoryProduct,
): Promise<StoryOrder> {
  const { cluster, page } = world;
  await cluster.stop('kafka');
  const order = await placeOrder(world, productId, {
    paymentToken: 'tok_approve',
    status: 'CONFIRMED',
  });
  const { waiting } = await findEvents(world, order);
  confirm('whether events of the order wait in the outbox', waiting > 0, true);
  page.confirmed(`confirmed without Kafka; ${waiting} of its events wait in the outbox`);
  return order;
}

/** Starts Kafka again, and waits until each event of the order is logged, and is handled. */
export async function startKafkaAgain(world: World, order: StoryOrder): Promise<void> {
  const { cluster, page, signal } = world;
  await cluster.start('kafka', { signal });
  const { events } = await eventually(signal, 'the events of the order are handled', async () => {
    const found = await findEvents(world, order);
    confirm('the events that wait in the outbox', found.waiting, 0);
    confirm('the events that are handled', found.handled, found.events);
    return found;
  });
  page.confirmed(`all ${events} events of the order are in the log, each once, and are handled`);
}

interface OrderEvents {
  readonly events: number;
  readonly waiting: number;
  /** Logged and handled. */
  readonly handled: number;
}

async function findEvents({ pool }: World, { orderId }: StoryOrder): Promise<OrderEvents> {
  const { rows } = await pool.query<OrderEvents>(
    `SELECT count(*)::int AS events,
       (count(*) FILTER (WHERE published_at IS NULL))::int AS waiting,
       (count(*) FILTER (WHERE event_id IN (
         SELECT event_id FROM collector.event_log JOIN collector.event_handled USING (event_id)
         WHERE aggregate_id = $1)))::int AS handled
     FROM commerce.outbox WHERE key = $1`,
    [orderId],
  );
  return rows[0]!;
}
