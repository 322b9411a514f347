/** Step: the collector's rows. */
import { confirm, eventually } from './confirm';
import type { CarriedMessage } from './read-from-kafka';
import type { StoryProduct } from './register-product';
import { storyViews } from './view-product';
import type { World } from './world';

/** The collector's rows of the product. */
export interface CollectedRows {
  /** One an event, in the order of the offsets. */
  readonly eventLog: readonly Readonly<Record<string, unknown>>[];
  /** In the same order. */
  readonly eventHandled: readonly Readonly<Record<string, unknown>>[];
  readonly productMetrics: readonly Readonly<Record<string, unknown>>[];
}

/** Prints the rows and confirms that each event is there once, and counted once. */
export async function findResultingRows(
  world: World,
  product: StoryProduct,
  messages: readonly CarriedMessage[],
): Promise<void> {
  const { page } = world;
  const rows = await selectRows(world, product.productId);
  show(world, 'collector.event_log', rows.eventLog);
  show(world, 'collector.event_handled', rows.eventHandled);
  show(world, 'collector.product_metrics', rows.productMetrics);
  // Sorted: of a duplicated event either copy may have been handled first.
  const eventIds = messages.map(({ eventId }) => eventId).sort();
  confirm('the events in event_log', rows.eventLog.map(eventIdOf).sort(), eventIds);
  confirm('the events in event_handled', rows.eventHandled.map(eventIdOf).sort(), eventIds);
  const [{ view_count, stock, stock_version } = {}] = rows.productMetrics;
  const expected = { view_count: storyViews, stock: 0, stock_version: product.version + 1 };
  confirm('the metrics', { view_count, stock, stock_version }, expected);
  page.confirmed('each event is there once, and counted once');
}

/** Waits until so many views of the product are counted. */
export function waitForViews(world: World, productId: string, views: number): Promise<void> {
  return eventually(world.signal, `${views} views are counted`, async () => {
    const { productMetrics } = await selectRows(world, productId);
    confirm('view_count', productMetrics[0]?.['view_count'], views);
  });
}

/** The collector's current rows of the product. */
export async function selectRows({ pool }: World, productId: string): Promise<CollectedRows> {
  const [eventLog, eventHandled, productMetrics] = await Promise.all([
    pool.query<Record<string, unknown>>(
      `SELECT event_id, type, topic, partition, "offset", recorded_at
       FROM collector.event_log WHERE aggregate_id = $1 ORDER BY "offset"`,
      [productId],
    ),
    pool.query<Record<string, unknown>>(
      `SELECT event_id, workflow_id, handled_at
       FROM collector.event_handled JOIN collector.event_log USING (event_id)
       WHERE aggregate_id = $1 ORDER BY "offset"`,
      [productId],
    ),
    pool.query<Record<string, unknown>>(
      `SELECT product_id, view_count, like_count, sales_count, stock, stock_version, updated_at
       FROM collector.product_metrics WHERE product_id = $1`,
      [productId],
    ),
  ]);
  return {
    eventLog: eventLog.rows,
    eventHandled: eventHandled.rows,
    productMetrics: productMetrics.rows,
  };
}

function show({ page }: World, table: string, rows: CollectedRows['eventLog']): void {
  page.show(table);
  page.table(rows.map(withoutTimes));
}

// Times make wide columns and say nothing here.
function withoutTimes(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !name.endsWith('_at')));
}

function eventIdOf(row: Readonly<Record<string, unknown>>): unknown {
  return row['event_id'];
}
