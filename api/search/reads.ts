/**
 * Search by ID, name and place. Each look-up reads an index. The audit log has none by offset, which every
 * insert would pay for: Kafka itself says which event is at a place.
 */
import type { z } from 'zod';
import { parseMessage } from '../../events/parse';
import { placeOf, type Coordinates } from '../../events/received';
import { eventTopics } from '../../events/topics';
import type { KafkaClient } from '../../platform/kafka/client';
import { readEntryAt } from '../../platform/kafka/partition-log';
import { withTimeout } from '../../platform/process/waiting';
import type { Database } from '../http/database';
import { readQuery, type SearchQuery } from './query';
import type { searchResults } from './schemas';

type SearchResults = z.output<typeof searchResults>;
type SearchHit = SearchResults['items'][number];

/** Searches. */
export interface Search {
  /** What a text may stand for. @throws DatabaseUnavailableError when PostgreSQL is unavailable */
  find(text: string): Promise<SearchResults>;
}

/** What searching needs. */
export interface SearchDependencies {
  readonly database: Database;
  readonly kafka: KafkaClient;
}

/** Searches in PostgreSQL, and for places in Kafka. */
export function createSearch({ database, kafka }: SearchDependencies): Search {
  return {
    async find(text) {
      const query = readQuery(text);
      const found = query.place && (await readPlace(kafka, query.place));
      const items = await readHits(database, query, found?.eventId ?? query.id);
      const isKnown = items.some(({ kind, id }) => kind === 'event' && id === found?.eventId);
      return {
        items:
          found?.eventId === undefined || isKnown ? items : [notLogged(found.eventId), ...items],
        incomplete: found?.incomplete ?? null,
      };
    },
  };
}

interface FoundAtPlace {
  /** Of the event there, if it is one. */
  readonly eventId: string | undefined;
  /** Why nobody can tell. */
  readonly incomplete: string | null;
}

const noEvent: FoundAtPlace = { eventId: undefined, incomplete: null };

const kafkaTimeoutMs = 3_000;

async function readPlace(kafka: KafkaClient, place: Coordinates): Promise<FoundAtPlace> {
  // Other topics are none of the pipeline's.
  if (!eventTopics.some((topic) => topic === place.topic)) return noEvent;
  try {
    const entry = await withTimeout(readEntryAt(kafka, place), kafkaTimeoutMs);
    if (entry?.kind === 'record') return { ...noEvent, eventId: eventIdOf(place.topic, entry) };
    if (entry !== undefined) return noEvent;
    return {
      ...noEvent,
      incomplete: `Kafka has no message at ${placeOf(place)}: it is deleted, or not written yet. Only dead letters were searched.`,
    };
  } catch {
    return {
      ...noEvent,
      incomplete: `Kafka cannot be read at ${placeOf(place)} now: only dead letters were searched. Check the partition, and that Kafka is available.`,
    };
  }
}

function eventIdOf(
  topic: string,
  { key, value }: Pick<Parameters<typeof parseMessage>[0], 'key' | 'value'>,
): string | undefined {
  try {
    return parseMessage({ topic, key, value }).id;
  } catch {
    // It is no event: the dead letters have it.
    return undefined;
  }
}

function notLogged(eventId: string): SearchHit {
  return { kind: 'event', id: eventId, label: 'Event', detail: 'in Kafka, not logged yet' };
}

/** @param id an ID that was given, or that of the event at a place */
async function readHits(
  database: Database,
  { deadLetterId, place, words }: SearchQuery,
  id: string | undefined,
): Promise<SearchHit[]> {
  return database.query<SearchHit>({
    // Not prepared, so that it is planned again while the tables grow.
    text: searchStatement,
    values: [
      id ?? null,
      deadLetterId ?? null,
      place?.topic ?? null,
      place?.partition ?? null,
      place?.offset ?? null,
      words,
    ],
  });
}

const mostLetters = 5;
const mostProducts = 8;

const searchStatement = `
  WITH event AS (
    SELECT event_id, type, aggregate_id, 'logged' AS how
    FROM collector.event_log WHERE event_id = $1
    UNION ALL
    SELECT event_id, type, key,
      CASE WHEN published_at IS NULL THEN 'not published yet' ELSE 'not logged yet' END
    FROM commerce.outbox WHERE event_id = $1
      AND NOT EXISTS (SELECT FROM collector.event_log WHERE event_id = $1)
  ), letter AS (
    SELECT id, reason, status, topic, partition, "offset"
    FROM collector.dead_letters WHERE id = $2::bigint
    UNION
    (SELECT id, reason, status, topic, partition, "offset"
      FROM collector.dead_letters WHERE event_id = $1 ORDER BY id DESC LIMIT ${mostLetters})
    UNION
    -- The nearest before the place: what could not be read has a range.
    SELECT id, reason, status, topic, partition, "offset" FROM (
      SELECT * FROM collector.dead_letters
      WHERE topic = $3 AND partition = $4::integer AND "offset" <= $5::bigint
      ORDER BY "offset" DESC LIMIT ${mostLetters}) AS near
    WHERE coalesce(last_offset, "offset") >= $5::bigint
  ), named AS (
    SELECT product_id, name, stock FROM commerce.products
    WHERE to_tsvector('simple', name)
      @@ regexp_replace(nullif(plainto_tsquery('simple', $6)::text, ''), '''( |$)', ''':*\\1', 'g')::tsquery
    LIMIT ${mostProducts}
  ), product AS (
    SELECT 1 AS rank, product_id, name, 'stock ' || stock AS detail
    FROM commerce.products WHERE product_id = $1
    UNION ALL
    SELECT 1, product_id, 'Product', 'not in the catalog'
    FROM collector.product_metrics WHERE product_id = $1
      AND NOT EXISTS (SELECT FROM commerce.products WHERE product_id = $1)
    UNION ALL
    SELECT 2, product_id, name, 'stock ' || stock FROM named WHERE product_id IS DISTINCT FROM $1
  )
  SELECT kind, id, label, detail FROM (
    SELECT 1 AS rank, 'event' AS kind, event_id AS id, type AS label,
      how || ', of ' || aggregate_id AS detail FROM event
    UNION ALL
    SELECT 1, 'event', $1, 'Event', 'known to a dead letter alone'
    WHERE NOT EXISTS (SELECT FROM event)
      AND EXISTS (SELECT FROM collector.dead_letters WHERE event_id = $1)
    UNION ALL
    SELECT 1, 'order', order_id, 'Order', status || ', of ' || user_id
    FROM commerce.orders WHERE order_id = $1
    UNION ALL
    SELECT rank, 'product', product_id, name, detail FROM product
    UNION ALL
    SELECT 1, 'dead-letter', id::text, reason,
      status || ', from ' || topic || '/' || partition || ' at ' || "offset" FROM letter
    UNION ALL
    SELECT 1, 'user', $1, 'User', 'has placed orders'
    WHERE EXISTS (SELECT FROM commerce.orders WHERE user_id = $1)
  ) AS hit
  ORDER BY rank, array_position(ARRAY['event', 'order', 'product', 'dead-letter', 'user'], kind),
    label, id`;
