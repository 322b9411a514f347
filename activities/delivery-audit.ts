/**
 * The delivery audit: finds what is overdue between the outbox and the metrics. The shop's half
 * reads and writes the schema `commerce` only, the collector's half reads `collector` only; the
 * workflow carries IDs between them.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { getClient, log } from '@temporalio/activity';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Kafka } from 'kafkajs';
import type { Pool } from 'pg';
import type { BatchOffsets, ReceivedEvent } from '../events/received';
import { workflowIdPrefixes } from '../events/workflow-ids';
import { readGroupProgress, type GroupProgress } from '../platform/kafka/consumer-lag';
import { MessageTooLargeError, type Delivery, type KafkaSender } from '../platform/kafka/sender';
import { auditConfirmations, auditFindings } from '../platform/observability/telemetry';
import { forEachConcurrently } from '../platform/process/concurrency';
import { outgoingValue, toOutgoing, type Aggregate, type OutboxRow } from './commerce/publish';

/** Dependencies of the shop's half. */
export interface ShopAuditDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** Dependencies of the collector's half. */
export interface CollectorAuditDependencies {
  readonly pool: Pool;
  readonly kafka: Kafka;
  /** The bridge's consumer group. */
  readonly groupId: string;
}

/** A page of a query. */
export interface AuditPage<Position> {
  /** Only what is older, in ms since the epoch. */
  readonly before: number;
  /** Cursor: only what comes after it. */
  readonly after: Position;
  /** Most items of the page. */
  readonly limit: number;
}

/** A page of aggregates with unpublished events. */
export interface UnpublishedPage {
  readonly aggregates: readonly Aggregate[];
  /** The first event of the first aggregate; absent when there is none. */
  readonly firstEventId?: string;
  /** How many events of these aggregates are overdue, including those found before. */
  readonly events: number;
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: number;
}

/** The recorded publication of an event in the outbox. */
export interface Publication {
  readonly eventId: string;
  readonly topic: string;
  /** Null, like the offset, if not recorded: then nothing proves that the event was sent. */
  readonly partition: number | null;
  readonly offset: number | null;
  /** SHA-256 of the message's value, in base64: a dead letter is this event only if it has it, too. */
  readonly valueHash: string;
}

/** A page of publications that have not been confirmed. */
export interface UnconfirmedPage {
  readonly publications: readonly Publication[];
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: number;
}

/**
 * State of publications. The others are not consumed yet, being handled, or parked: a dead letter may
 * be redriven, and then has to arrive again.
 */
export interface Arrivals {
  /** IDs of events that are logged, or discarded by an operator. */
  readonly arrived: readonly string[];
  /** IDs of lost events: recorded nowhere, not in progress, and past the consumer group. */
  readonly lost: readonly string[];
}

/** A page of undecided orders. */
export interface UndecidedPage {
  readonly orderIds: readonly string[];
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: string;
}

/** A page of events that are logged, but neither handled nor parked. */
export interface UnhandledPage {
  readonly eventIds: readonly string[];
  /** When the first of them was logged, in ms since the epoch; absent when there is none. */
  readonly oldest?: number;
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: string;
}

/** Activities of the shop's half. */
export function createShopAuditActivities({ pool, sender }: ShopAuditDependencies) {
  return {
    /**
     * Aggregates with events that were written before `before` and are not published, by sequence. An
     * event is logged and counted once, when it is first found.
     */
    async findUnpublished(page: AuditPage<number>): Promise<UnpublishedPage> {
      const { rows } = await pool.query<UnpublishedRow>({
        name: 'audit-unpublished',
        text: `
          WITH page AS (
            SELECT topic, key, min(sequence) AS first,
              array_agg(event_id ORDER BY sequence) AS "eventIds"
            FROM commerce.outbox
            WHERE published_at IS NULL AND created_at < to_timestamp($1 / 1000.0)
            GROUP BY topic, key HAVING min(sequence) > $2
            ORDER BY min(sequence) LIMIT $3
          ), found AS (
            UPDATE commerce.outbox SET left_behind_at = now()
            WHERE event_id IN (
              SELECT event_id FROM commerce.outbox
              WHERE event_id IN (SELECT unnest("eventIds") FROM page) AND left_behind_at IS NULL
                -- A relay that has just sent some of them must not be waited for.
                FOR UPDATE SKIP LOCKED)
            RETURNING event_id
          )
          SELECT page.*, ARRAY(
            SELECT event_id FROM found WHERE event_id = ANY("eventIds")) AS "newEventIds"
          FROM page ORDER BY first`,
        values: [page.before, page.after, page.limit],
      });
      rows.forEach(logUnpublished);
      const newEvents = rows.reduce((sum, { newEventIds }) => sum + newEventIds.length, 0);
      auditFindings.inc({ finding: 'unpublished' }, newEvents);
      const events = rows.reduce((sum, { eventIds }) => sum + eventIds.length, 0);
      return {
        aggregates: rows.map(({ topic, key }) => ({ topic, key })),
        events,
        ...(rows[0] === undefined ? {} : { firstEventId: rows[0].eventIds[0]! }),
        ...nextOf(rows, page.limit, ({ first }) => first),
      };
    },

    /** Events that were published before `before` and are not confirmed. */
    async findUnconfirmed(page: AuditPage<number>): Promise<UnconfirmedPage> {
      const { rows } = await pool.query<UnconfirmedRow>({
        name: 'audit-unconfirmed',
        text: `
          SELECT sequence, event_id AS "eventId", topic, partition, "offset", payload
          FROM commerce.outbox
          WHERE delivered_at IS NULL AND sequence > $2
            AND published_at < to_timestamp($1 / 1000.0)
          ORDER BY sequence LIMIT $3`,
        values: [page.before, page.after, page.limit],
      });
      return {
        publications: rows.map(toPublication),
        ...nextOf(rows, page.limit, ({ sequence }) => sequence),
      };
    },

    /** Marks events as confirmed. @returns how many of them were newly marked */
    async markDelivered(eventIds: readonly string[]): Promise<number> {
      const { rowCount } = await pool.query({
        name: 'audit-delivered',
        text: `
          UPDATE commerce.outbox SET delivered_at = now()
          WHERE event_id = ANY($1) AND delivered_at IS NULL`,
        values: [eventIds],
      });
      auditConfirmations.inc(rowCount ?? 0);
      return rowCount ?? 0;
    },

    /**
     * Publishes events again and records the new offsets. The collector rejects duplicates, so one too
     * many does no harm. An event that Kafka rejects as too large is logged and skipped, so that it
     * does not block the others.
     *
     * @returns how many were sent
     * @throws KafkaUnavailableError retryable; a retry sends only the rest
     */
    async sendAgain(eventIds: readonly string[]): Promise<number> {
      const { rows } = await pool.query<OutboxRow>({
        name: 'audit-send-again',
        text: `
          SELECT event_id, topic, key, type, payload, traceparent FROM commerce.outbox
          WHERE event_id = ANY($1) AND delivered_at IS NULL ORDER BY sequence`,
        values: [eventIds],
      });
      const outcomes = await Promise.allSettled(rows.map((row) => sendOneAgain(pool, sender, row)));
      const failed = outcomes.find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
      return outcomes.filter((each) => each.status === 'fulfilled' && each.value).length;
    },

    /** Orders that were placed before `before` and are neither confirmed nor cancelled, by ID. */
    async findUndecided(page: AuditPage<string>): Promise<UndecidedPage> {
      const { rows } = await pool.query<{ orderId: string }>({
        name: 'audit-undecided',
        text: `
          SELECT order_id AS "orderId" FROM commerce.orders
          WHERE status = 'PLACED' AND created_at < to_timestamp($1 / 1000.0) AND order_id > $2
          ORDER BY order_id LIMIT $3`,
        values: [page.before, page.after, page.limit],
      });
      for (const { orderId } of rows)
        log.warn('order undecided for too long; resuming it', { orderId });
      auditFindings.inc({ finding: 'undecided' }, rows.length);
      return {
        orderIds: rows.map(({ orderId }) => orderId),
        ...nextOf(rows, page.limit, ({ orderId }) => orderId),
      };
    },
  };
}

/** Activities of the collector's half. */
export function createCollectorAuditActivities(dependencies: CollectorAuditDependencies) {
  const { pool } = dependencies;
  return {
    /**
     * Which of the publications have arrived, and which are lost.
     *
     * The order of the reads makes it exact. Committed offsets first: a message before them had its
     * workflow started. Then the workflows: one that is not open now has ended. Then the log again: an
     * ended workflow has written there, so what is missing now is lost.
     */
    async lookUpArrivals(publications: readonly Publication[]): Promise<Arrivals> {
      const before = await findPlaces(pool, publications);
      const missing = publications.filter(({ eventId }) => !before.has(eventId));
      const gone = missing.length === 0 ? [] : await keepGone(dependencies, missing);
      const abandoned = await keepAbandoned(getClient(), gone);
      const meanwhile = await findPlaces(pool, abandoned);
      const arrived = [...before, ...meanwhile].filter(([, place]) => place === 'arrived');
      return {
        arrived: arrived.map(([eventId]) => eventId),
        lost: abandoned.map(({ eventId }) => eventId).filter((id) => !meanwhile.has(id)),
      };
    },

    /** Events that were logged or redriven in a time window and are neither handled nor parked, by ID. */
    async findUnhandled(
      page: AuditPage<string> & { readonly from: number },
    ): Promise<UnhandledPage> {
      const { rows } = await pool.query<{ eventId: string; loggedAt: number }>({
        name: 'audit-unhandled',
        text: `
          WITH due AS (
            SELECT event_id, recorded_at AS since FROM collector.event_log
            WHERE recorded_at >= to_timestamp($1 / 1000.0)
              AND recorded_at < to_timestamp($2 / 1000.0)
            UNION ALL
            SELECT event_id, resolved_at FROM collector.dead_letters
            WHERE status = 'redriven' AND event_id IS NOT NULL
              AND resolved_at >= to_timestamp($1 / 1000.0)
              AND resolved_at < to_timestamp($2 / 1000.0)
          )
          SELECT event_id AS "eventId",
            floor(extract(epoch FROM min(since)) * 1000)::float8 AS "loggedAt"
          FROM due JOIN collector.event_log USING (event_id)
          WHERE event_id > $3
            AND NOT EXISTS (
              SELECT FROM collector.event_handled WHERE event_handled.event_id = event_log.event_id)
            AND NOT EXISTS (
              SELECT FROM collector.dead_letters AS letter
              WHERE letter.event_id = event_log.event_id
                AND (letter.status <> 'redriven' OR letter.resolved_at >= to_timestamp($2 / 1000.0))
                AND collector.json_of(letter.value) = event_log.payload)
          GROUP BY event_id
          ORDER BY event_id LIMIT $4`,
        values: [page.from, page.before, page.after, page.limit],
      });
      for (const { eventId } of rows)
        log.warn('event not handled in time; handling it again', { eventId });
      auditFindings.inc({ finding: 'unhandled' }, rows.length);
      return {
        eventIds: rows.map(({ eventId }) => eventId),
        ...(rows.length === 0 ? {} : { oldest: Math.min(...rows.map(({ loggedAt }) => loggedAt)) }),
        ...nextOf(rows, page.limit, ({ eventId }) => eventId),
      };
    },

    /** A logged event, as if just received; its headers are not logged. */
    async readLoggedEvent(eventId: string): Promise<ReceivedEvent> {
      const { rows } = await pool.query<Omit<ReceivedEvent, 'headers'>>({
        name: 'audit-logged-event',
        text: `
          SELECT event_id AS "eventId", topic, partition, "offset", aggregate_id AS key,
            payload::text AS value,
            floor(extract(epoch FROM recorded_at) * 1000)::float8 AS "producedAt"
          FROM collector.event_log WHERE event_id = $1`,
        values: [eventId],
      });
      return { ...rows[0]!, headers: [] };
    },
  };
}

interface UnpublishedRow extends Aggregate {
  readonly first: number;
  /** In their order. */
  readonly eventIds: readonly string[];
  /** The newly found ones. */
  readonly newEventIds: readonly string[];
}

interface UnconfirmedRow extends Omit<Publication, 'valueHash'> {
  readonly sequence: number;
  readonly payload: object;
}

function toPublication({ sequence: _, payload, ...publication }: UnconfirmedRow): Publication {
  const hash = createHash('sha256').update(outgoingValue(payload));
  return { ...publication, valueHash: hash.digest('base64') };
}

function logUnpublished({ topic, key, newEventIds }: UnpublishedRow): void {
  for (const eventId of newEventIds) {
    log.warn('event not published in time; publishing it', { eventId, topic, key });
  }
}

function nextOf<Row, Position>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => Position,
): { readonly next?: Position } {
  return rows.length < limit ? {} : { next: positionOf(rows.at(-1)!) };
}

/** Whether it was sent; false for an event that is too large. */
async function sendOneAgain(pool: Pool, sender: KafkaSender, row: OutboxRow): Promise<boolean> {
  const { event_id: eventId, topic, key } = row;
  try {
    const [delivery] = await sender.send([toOutgoing(row)]);
    await noteNewCopy(pool, eventId, delivery!);
    log.warn('published event was lost; published it again', {
      eventId,
      topic,
      key,
      ...delivery,
    });
    auditFindings.inc({ finding: 'republished' });
    return true;
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    log.error('lost event cannot be published again: Kafka rejects it as too large', {
      eventId,
      topic,
    });
    return false;
  }
}

async function noteNewCopy(pool: Pool, eventId: string, delivery: Delivery): Promise<void> {
  await pool.query({
    name: 'audit-new-copy',
    text: 'UPDATE commerce.outbox SET partition = $2, "offset" = $3 WHERE event_id = $1',
    values: [eventId, delivery.partition, delivery.offset],
  });
}

/** State of an event that must not be published again. */
type Place =
  /** Logged, or discarded by an operator: final. */
  | 'arrived'
  /** Parked, so it may be redriven; or redriven a moment ago. */
  | 'parked';

// A dead letter may claim any ID in a header; only one with the event's own bytes is that event.
async function findPlaces(
  pool: Pool,
  publications: readonly Publication[],
): Promise<ReadonlyMap<string, Place>> {
  if (publications.length === 0) return new Map();
  const { rows } = await pool.query<{ event_id: string; place: Place }>({
    name: 'audit-arrived',
    text: `
      SELECT event_id, 'arrived' AS place FROM collector.event_log WHERE event_id = ANY($1)
      UNION ALL
      SELECT letter.event_id, CASE letter.status WHEN 'discarded' THEN 'arrived' ELSE 'parked' END
      FROM unnest($1::text[], $2::text[]) AS publication (event_id, value_hash)
      JOIN collector.dead_letters AS letter ON letter.event_id = publication.event_id
        AND letter.value_hash = decode(publication.value_hash, 'base64')
      WHERE letter.status <> 'redriven' OR letter.resolved_at > now() - make_interval(secs => $3)
      ORDER BY place DESC`,
    values: [
      publications.map(({ eventId }) => eventId),
      publications.map(({ valueHash }) => valueHash),
      redrivenGraceMs / 1_000,
    ],
  });
  // 'arrived' comes last, so it wins for an event that is in both.
  return new Map(rows.map(({ event_id, place }) => [event_id, place]));
}

/** Grace period for a redriven message to arrive, in ms. */
const redrivenGraceMs = 600_000;

/** The events that the consumer group will not read any more. */
async function keepGone(
  { kafka, groupId }: CollectorAuditDependencies,
  publications: readonly Publication[],
): Promise<Publication[]> {
  const topics = [...new Set(publications.map(({ topic }) => topic))];
  const progress = await readGroupProgress(kafka, groupId, topics);
  return publications.filter((publication) => isGone(publication, progress));
}

/**
 * Whether the group will not read a message any more: its committed offset is past it, or the message
 * was deleted, or the log truncated or recreated. False for an unreadable topic. Pure.
 */
export function isGone(
  { topic, partition, offset }: Pick<Publication, 'topic' | 'partition' | 'offset'>,
  { partitions, unreadable }: GroupProgress,
): boolean {
  // Without coordinates it was not sent, or to an unknown offset: a duplicate does no harm.
  if (partition === null || offset === null || partition < 0) return true;
  if (unreadable.some((each) => each.topic === topic)) return false;
  const log = partitions.find((each) => each.topic === topic && each.partition === partition);
  if (log === undefined || offset < log.start || offset >= log.end) return true;
  // A committed offset past the end belongs to a topic that was recreated since.
  return log.committed !== null && log.committed <= log.end && offset < log.committed;
}

/** Visibility delay: how long Temporal may take to list a started workflow, in ms. */
const listingDelayMs = 2_000;

/** Concurrent calls: at 40 ms each, a thousand events take two seconds instead of eighty. */
const lookUpsAtOnce = 50;

/** The events that no open workflow is about to log or park. */
async function keepAbandoned(
  client: Client,
  publications: readonly Publication[],
): Promise<Publication[]> {
  const abandoned = await filterConcurrently(
    publications,
    lookUpsAtOnce,
    async (publication) => !(await isUnderWay(client, publication)),
  );
  if (abandoned.length === 0) return [];
  await sleep(listingDelayMs);
  const open = await listOpenBatches(client);
  return abandoned.filter((publication) => !open.some((batch) => holds(batch, publication)));
}

/**
 * Asynchronous filter that keeps the order, with at most `limit` calls at once.
 *
 * @throws the first failure, after the calls in progress
 */
export async function filterConcurrently<T>(
  items: readonly T[],
  limit: number,
  keeps: (item: T) => Promise<boolean>,
): Promise<T[]> {
  const kept = new Set<number>();
  await forEachConcurrently([...items.entries()], limit, async ([index, item]) => {
    if (await keeps(item)) kept.add(index);
  });
  return items.filter((_, index) => kept.has(index));
}

async function isUnderWay(
  client: Client,
  { eventId, topic, partition, offset }: Publication,
): Promise<boolean> {
  const parking = `${workflowIdPrefixes.parkDeadLetter}${topic}-${partition}-${offset}`;
  return (await isOpen(client, eventId)) || (await isOpen(client, parking));
}

async function isOpen(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

interface OpenBatch {
  readonly workflowId: string;
  readonly memo?: { readonly offsets?: BatchOffsets };
}

// A batch's ID is a hash of its messages, so the batch of a message can only be found among the open
// ones.
async function listOpenBatches(client: Client): Promise<OpenBatch[]> {
  const query = `ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '${workflowIdPrefixes.handleEventBatch}'`;
  const batches: OpenBatch[] = [];
  for await (const batch of client.workflow.list({ query })) batches.push(batch);
  return batches;
}

function holds({ workflowId, memo }: OpenBatch, publication: Publication): boolean {
  const { topic, partition, offset } = publication;
  if (offset === null) return false;
  const range = memo?.offsets?.[`${topic}/${partition}`] ?? rangeInName(workflowId, publication);
  return range !== undefined && offset >= range[0]! && offset <= range[1]!;
}

// Batches of earlier versions have no memo; their ID ends with a partition and its offsets.
function rangeInName(
  workflowId: string,
  { topic, partition }: Publication,
): readonly number[] | undefined {
  const start = `${workflowIdPrefixes.handleEventBatch}${topic}-${partition}-`;
  return workflowId.startsWith(start)
    ? workflowId.slice(start.length).split('-').map(Number)
    : undefined;
}
