/** Step: what is in the topic. */
import type { EventTopic } from '../../events/topics';
import { readRange } from '../../platform/kafka/partition-log';
import type { LogRecord } from '../../platform/kafka/record-batch';
import { readBounds } from '../../platform/kafka/topic-offsets';
import type { SoldOut } from './adjust-to-sold-out';
import { confirm, eventually } from './confirm';
import type { StoryProduct } from './register-product';
import { storyViews } from './view-product';
import type { World } from './world';

/** The first occurrence of an event in Kafka. */
export interface CarriedMessage {
  readonly topic: EventTopic;
  readonly partition: number;
  readonly offset: number;
  readonly eventId: string;
  readonly type: string;
  /** The message itself. */
  readonly message: LogRecord;
}

/** What was changed through the API. */
export interface ToldChanges {
  readonly product: StoryProduct;
  readonly soldOut: SoldOut;
}

/** The topic of product events. */
export const catalogTopic: EventTopic = 'catalog-events';

/** The end offset of each partition, by its number. */
export type TopicEnds = ReadonlyMap<number, number>;

/** The current end offsets of the topic: the story's events come after them. */
export async function findTopicEnds({ kafka }: World): Promise<TopicEnds> {
  const bounds = await readBounds(kafka, catalogTopic);
  return new Map(bounds.map(({ partition, end }) => [partition, end]));
}

/**
 * Reads the events of the story's product, in the order of their offsets.
 *
 * @param endsBefore where the topic ended before the story. A view, which the API sends by itself, may
 * overtake the event that registers its product.
 */
export async function readFromKafka(
  world: World,
  { product, soldOut }: ToldChanges,
  endsBefore: TopicEnds,
): Promise<CarriedMessage[]> {
  const { page } = world;
  const changes = [product.eventId, soldOut.eventId];
  const published = await Promise.all(changes.map((eventId) => findPublished(world, eventId)));
  const partition = published[0]?.partition ?? 0;
  const from = { partition, offset: endsBefore.get(partition) ?? 0 };
  const carried = await consume(world, product.productId, from, changes.length + storyViews);
  page.table(carried.map(({ message: _, ...columns }) => columns));
  const positions = changes.map((eventId) => {
    const found = carried.find((each) => each.eventId === eventId);
    return { partition: found?.partition, offset: found?.offset };
  });
  confirm('where the two changes are', positions, published);
  const views = carried.filter(({ type }) => type === 'ProductViewed');
  confirm('the number of views in the topic', views.length, storyViews);
  page.confirmed(
    `all of one key, ${product.productId}, so all in one partition, and the changes in their order`,
  );
  return carried;
}

interface Position {
  readonly partition: number;
  readonly offset: number;
}

/** The event's position in Kafka, from the outbox. */
function findPublished({ pool, signal }: World, eventId: string): Promise<Position> {
  return eventually(signal, `event ${eventId} is acknowledged by Kafka`, async () => {
    const { rows } = await pool.query<Position>(
      `SELECT partition, "offset" FROM commerce.outbox
       WHERE event_id = $1 AND published_at IS NOT NULL`,
      [eventId],
    );
    confirm('the number of published rows in the outbox', rows.length, 1);
    return rows[0] as Position;
  });
}

/** Reads from a position until it has seen so many distinct events of the product. */
function consume(
  { kafka, signal }: World,
  productId: string,
  from: Position,
  count: number,
): Promise<CarriedMessage[]> {
  const { partition, offset } = from;
  return eventually(signal, `${count} events of ${productId} are in the topic`, async () => {
    const bounds = await readBounds(kafka, catalogTopic);
    const to = bounds.find((each) => each.partition === partition)?.end ?? offset;
    const seen = new Map<string, CarriedMessage>();
    await readRange(
      kafka,
      { topic: catalogTopic, partition, from: offset, to },
      async (entries) => {
        for (const entry of entries) {
          if (entry.kind !== 'record' || entry.key?.toString() !== productId) continue;
          const carried = describe(entry, partition);
          // An event may be duplicated: its first occurrence counts.
          if (!seen.has(carried.eventId)) seen.set(carried.eventId, carried);
        }
      },
    );
    confirm('the number of events', seen.size, count);
    return [...seen.values()];
  });
}

function describe(message: LogRecord, partition: number): CarriedMessage {
  const event = JSON.parse(String(message.value)) as { id: string; type: string };
  return {
    topic: catalogTopic,
    partition,
    offset: message.offset,
    eventId: event.id,
    type: event.type,
    message,
  };
}
