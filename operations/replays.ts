/**
 * Ranges of messages that an operator has the bridge read again (`collector.replays`), beside the consumer
 * group, whose offsets do not move. What was handled before changes nothing, so a replay harms at no time.
 */
import { parseMessage } from '../events/parse';
import { eventTopics, type EventTopic } from '../events/topics';
import type { KafkaClient } from '../platform/kafka/client';
import { readRange } from '../platform/kafka/partition-log';
import { readBounds, readOffsetsAt } from '../platform/kafka/topic-offsets';
import type { Queryable } from '../platform/postgres/pool';

/**
 * What is to be read again: offsets, both inclusive; what was produced from `since` until before `until`, by
 * the timestamps of the producers, in all topics; or the logged events of an aggregate.
 */
export type ReplayRequest =
  | ({ readonly topic: EventTopic } & Omit<ReplayRange, 'topic'>)
  | { readonly since: Date; readonly until: Date }
  | { readonly aggregateId: string };

/** Offsets of a partition, both inclusive. */
export interface ReplayRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

/** What a request comes to. */
export interface ReplayPlan {
  /** By topic and partition, without what Kafka no longer has or has not got yet. */
  readonly ranges: readonly ReplayRange[];
  /** Offsets in the ranges; some may hold no message. */
  readonly offsets: number;
  /** What the ranges hold; null where it is too much to be read for an answer. */
  readonly counted: ReplayCount | null;
}

/** What ranges hold. */
interface ReplayCount {
  readonly messages: number;
  /** Events among them that are handled: reading them again changes nothing. */
  readonly repeats: number;
}

/** Nothing of it can be read again. Another request can succeed, not the same one. */
export class ReplayRefusedError extends Error {
  override readonly name = 'ReplayRefusedError';

  constructor(
    /** `EMPTY`: Kafka has none of it. `TOO_LARGE`: the message says what the bound is. */
    readonly code: 'EMPTY' | 'TOO_LARGE',
    message: string,
  ) {
    super(message);
  }
}

/** Plans replays, and requests them. */
export interface ReplayOperations {
  /** Changes nothing. @throws ReplayRefusedError; another error when Kafka is unavailable */
  plan(request: ReplayRequest): Promise<ReplayPlan>;
  /** Has the bridges read the ranges; they begin within some seconds. @param by who asks */
  request(plan: ReplayPlan, by: string): Promise<void>;
}

/** What replays need. */
export interface ReplayDependencies {
  /** As a user that may insert into `collector.replays`. */
  readonly database: Queryable;
  readonly kafka: KafkaClient;
}

const mostOffsets = 1_000_000;
const mostPlaces = 1_000;
/** A few seconds to read. */
const mostCounted = 20_000;

export function createReplayOperations(dependencies: ReplayDependencies): ReplayOperations {
  return {
    async plan(request) {
      const wanted = await findRanges(dependencies, request);
      const ranges = await clip(dependencies.kafka, wanted);
      const offsets = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
      if (offsets === 0) throw new ReplayRefusedError('EMPTY', 'Kafka has no message of it.');
      if (offsets > mostOffsets) {
        throw new ReplayRefusedError(
          'TOO_LARGE',
          `These are ${offsets} offsets; one replay takes up to ${mostOffsets}. Ask for less at a time.`,
        );
      }
      const counted = offsets > mostCounted ? null : await count(dependencies, ranges);
      return { ranges, offsets, counted };
    },

    async request({ ranges }, by) {
      const parts = ranges.flatMap(split);
      await dependencies.database.query({
        name: 'replays-request-by-operator',
        text: `
          INSERT INTO collector.replays
            (topic, partition, first_offset, last_offset, next_offset, reason, requested_by)
          SELECT topic, partition, first_offset, last_offset, first_offset, 'REQUESTED', $5
          FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])
            AS part (topic, partition, first_offset, last_offset)`,
        values: [
          parts.map(({ topic }) => topic),
          parts.map(({ partition }) => partition),
          parts.map(({ from }) => from),
          parts.map(({ to }) => to),
          by,
        ],
      });
    },
  };
}

async function findRanges(
  { database, kafka }: ReplayDependencies,
  request: ReplayRequest,
): Promise<readonly ReplayRange[]> {
  if ('topic' in request) return [request];
  if ('aggregateId' in request) return findAggregate(database, request.aggregateId);
  const ofTopics = await Promise.all(
    eventTopics.map(async (topic) => {
      const [from, until] = await Promise.all([
        readOffsetsAt(kafka, topic, request.since),
        readOffsetsAt(kafka, topic, request.until),
      ]);
      return [...from].map(([partition, offset]) => ({
        topic,
        partition,
        from: offset,
        to: (until.get(partition) ?? 0) - 1,
      }));
    }),
  );
  return ofTopics.flat();
}

async function findAggregate(database: Queryable, aggregateId: string): Promise<ReplayRange[]> {
  const { rows } = await database.query<Omit<ReplayRange, 'from' | 'to'> & { offset: number }>({
    name: 'replays-of-aggregate',
    text: `
      SELECT topic, partition, "offset"::float8 AS "offset" FROM collector.event_log
      WHERE aggregate_id = $1 ORDER BY topic, partition, "offset" LIMIT $2`,
    values: [aggregateId, mostPlaces + 1],
  });
  if (rows.length === 0) {
    throw new ReplayRefusedError('EMPTY', `No event of ${aggregateId} is logged.`);
  }
  if (rows.length > mostPlaces) {
    throw new ReplayRefusedError(
      'TOO_LARGE',
      `More than ${mostPlaces} events of ${aggregateId} are logged. Ask for offsets or a time.`,
    );
  }
  return joinAdjacent(rows.map(({ offset, ...place }) => ({ ...place, from: offset, to: offset })));
}

/** Ranges without a gap between them become one. Pure. @param ranges by topic, partition and offset */
export function joinAdjacent(ranges: readonly ReplayRange[]): ReplayRange[] {
  const joined: ReplayRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    const continues =
      last?.topic === range.topic &&
      last.partition === range.partition &&
      range.from <= last.to + 1;
    if (continues) joined[joined.length - 1] = { ...last, to: Math.max(last.to, range.to) };
    else joined.push(range);
  }
  return joined;
}

// What Kafka no longer has would be recorded as vanished unread, which it is not.
async function clip(kafka: KafkaClient, ranges: readonly ReplayRange[]): Promise<ReplayRange[]> {
  const topics = [...new Set(ranges.map(({ topic }) => topic))];
  const bounds = new Map(
    await Promise.all(
      topics.map(async (topic) => [topic, await readBounds(kafka, topic)] as const),
    ),
  );
  return ranges.flatMap((range) => {
    const log = bounds.get(range.topic)!.find(({ partition }) => partition === range.partition);
    if (log === undefined) {
      throw new ReplayRefusedError('EMPTY', `${range.topic} has no partition ${range.partition}.`);
    }
    const from = Math.max(range.from, log.start);
    const to = Math.min(range.to, log.end - 1);
    return from > to ? [] : [{ ...range, from, to }];
  });
}

async function count(
  { database, kafka }: ReplayDependencies,
  ranges: readonly ReplayRange[],
): Promise<ReplayCount> {
  let messages = 0;
  const eventIds: string[] = [];
  for (const { topic, partition, from, to } of ranges) {
    await readRange(kafka, { topic, partition, from, to: to + 1 }, async (entries) => {
      messages += entries.length;
      for (const entry of entries) {
        if (entry.kind === 'unreadable') continue;
        const eventId = eventIdOf({ topic, key: entry.key, value: entry.value });
        if (eventId !== undefined) eventIds.push(eventId);
      }
    });
  }
  const { rows } = await database.query<{ repeats: number }>({
    name: 'replays-repeats',
    text: `
      SELECT count(*)::int AS repeats FROM unnest($1::text[]) AS found (event_id)
      JOIN collector.event_handled USING (event_id)`,
    values: [eventIds],
  });
  return { messages, repeats: rows[0]!.repeats };
}

function eventIdOf(message: Parameters<typeof parseMessage>[0]): string | undefined {
  try {
    return parseMessage(message).id;
  } catch {
    // It is no event, and is parked again only if it is not yet.
    return undefined;
  }
}

/** As much as the audit compares at once when it confirms that all of a replay has arrived. */
const offsetsPerPart = 5_000;

function split({ from, to, ...place }: ReplayRange): ReplayRange[] {
  const parts: ReplayRange[] = [];
  for (let first = from; first <= to; first += offsetsPerPart) {
    parts.push({ ...place, from: first, to: Math.min(first + offsetsPerPart - 1, to) });
  }
  return parts;
}
