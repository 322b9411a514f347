/**
 * The delivery audit's side of the collector: which publications have arrived, which are lost, and
 * what is logged but not handled. It reads the schema `collector` only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { getClient, log } from '@temporalio/activity';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Pool } from 'pg';
import type { BatchOffsets, ReceivedEvent } from '../../events/received';
import { openBatchesQuery, readBatchOffsets, workflowIds } from '../../events/workflow-ids';
import type { KafkaClient } from '../../platform/kafka/client';
import { readGroupProgress, type GroupProgress } from '../../platform/kafka/consumer-lag';
import { auditFindings } from '../../platform/observability/telemetry';
import { forEachConcurrently } from '../../platform/process/concurrency';
import { nextOf, type AuditPage, type Publication } from '../audit-pages';
import type { DueNotification } from './notifications/outbox';

export interface CollectorAuditDependencies {
  readonly pool: Pool;
  readonly kafka: KafkaClient;
  /** The bridge's consumer group. */
  readonly groupId: string;
}

/**
 * The delivery of publications. Those that are neither are not consumed yet, being handled, or
 * parked: a dead letter may be redriven, and must arrive again then.
 */
export interface Arrivals {
  /** IDs of events that are logged, or were discarded by an operator. */
  readonly arrived: readonly string[];
  /**
   * IDs of events that are not stored anywhere, not in progress, and can no longer be delivered.
   */
  readonly lost: readonly string[];
}

/** A page of events that are logged, but neither handled nor parked. */
export interface UnhandledPage {
  readonly eventIds: readonly string[];
  /** When the first of them was logged, in ms since the epoch; absent when there is none. */
  readonly oldest?: number;
  /** The cursor of the next page; absent after the last one. */
  readonly next?: string;
}

/** A page of overdue notifications. */
export interface UndeliveredPage {
  readonly abandoned: readonly DueNotification[];
  /** The cursor of the next page; absent after the last one. */
  readonly next?: DueNotification;
}

export function createCollectorAuditActivities(dependencies: CollectorAuditDependencies) {
  const { pool } = dependencies;
  return {
    /**
     * Which of the publications have arrived, and which are lost.
     *
     * The order of the checks makes it exact. Offsets first: the workflow of a message that they
     * have passed was started before. Then the workflows: one that is not open now has ended. Then
     * the log again: an ended workflow has written there, so what is missing now is lost.
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

    /**
     * Events that were logged or redriven in a time window and are neither handled nor parked, by
     * ID.
     */
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
        log.warn('an event is overdue to be handled; restarting its workflow', { eventId });
      auditFindings.inc({ finding: 'unhandled' }, rows.length);
      return {
        eventIds: rows.map(({ eventId }) => eventId),
        ...(rows.length === 0 ? {} : { oldest: Math.min(...rows.map(({ loggedAt }) => loggedAt)) }),
        ...nextOf(rows, page.limit, ({ eventId }) => eventId),
      };
    },

    /**
     * The overdue notifications that no open workflow delivers: Temporal has forgotten it, or somebody
     * ended it. Those that wait for their receiver have one.
     */
    async findUndelivered(page: AuditPage<DueNotification>): Promise<UndeliveredPage> {
      const { rows } = await pool.query<DueNotification>({
        name: 'audit-undelivered',
        text: `
          SELECT event_id AS "eventId", name FROM collector.notifications
          WHERE status = 'pending' AND created_at < to_timestamp($1 / 1000.0)
            AND (event_id, name) > ($2, $3)
          ORDER BY event_id, name LIMIT $4`,
        values: [page.before, page.after.eventId, page.after.name, page.limit],
      });
      const client = getClient();
      const abandoned = await filterConcurrently(
        rows,
        lookUpsAtOnce,
        async ({ name, eventId }) => !(await isOpen(client, workflowIds.notify(name, eventId))),
      );
      for (const { name, eventId } of abandoned)
        log.warn('nobody delivers an overdue notification; restarting its workflow', {
          notification: name,
          eventId,
        });
      auditFindings.inc({ finding: 'undelivered' }, abandoned.length);
      return { abandoned, ...nextOf(rows, page.limit, (row) => row) };
    },

    /** A logged event, as if it had just been received; its headers are not logged. */
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

/** Where an event is stored that must not be sent again. */
type Place =
  /** In the log, or discarded by an operator. */
  | 'arrived'
  /** Among the dead letters, which may be redriven; or redriven recently. */
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
  // 'arrived' comes last, and wins for an event that is in both.
  return new Map(rows.map(({ event_id, place }) => [event_id, place]));
}

/** Grace period for a redriven message to arrive, in ms. */
const redrivenGraceMs = 600_000;

/** Those that the consumer group can no longer read. */
async function keepGone(
  { kafka, groupId }: CollectorAuditDependencies,
  publications: readonly Publication[],
): Promise<Publication[]> {
  const topics = [...new Set(publications.map(({ topic }) => topic))];
  const progress = await readGroupProgress(kafka, groupId, topics);
  return publications.filter((publication) => isGone(publication, progress));
}

/**
 * Whether the consumer group can no longer read a message: it has passed it, or the log does not
 * contain its offset, because it was deleted, truncated or recreated. False for an unreadable
 * topic. Pure.
 */
export function isGone(
  { topic, partition, offset }: Pick<Publication, 'topic' | 'partition' | 'offset'>,
  { partitions, unreadable }: GroupProgress,
): boolean {
  // Without coordinates nothing was sent, or its position is unknown: a duplicate is harmless.
  if (partition === null || offset === null || partition < 0) return true;
  if (unreadable.some((each) => each.topic === topic)) return false;
  const log = partitions.find((each) => each.topic === topic && each.partition === partition);
  if (log === undefined || offset < log.start || offset >= log.end) return true;
  // A committed offset beyond the end is from before the topic was recreated.
  return log.committed !== null && log.committed <= log.end && offset < log.committed;
}

/** How long Temporal may take to list a workflow that it has started, in ms. */
const listingDelayMs = 2_000;

/** Concurrent lookups: at 40 ms a call, a thousand events, two calls each, take two seconds instead of eighty. */
const lookUpsAtOnce = 50;

/** A message as its workflows know it. */
export type Message = Pick<Publication, 'topic' | 'partition' | 'offset'> & {
  /** Null where it carries no event. */
  readonly eventId: string | null;
};

/** Those messages that no open workflow will log or park. */
export async function keepAbandoned<M extends Message>(
  client: Client,
  messages: readonly M[],
): Promise<M[]> {
  const abandoned = await filterConcurrently(
    messages,
    lookUpsAtOnce,
    async (message) => !(await isUnderWay(client, message)),
  );
  if (abandoned.length === 0) return [];
  await sleep(listingDelayMs);
  const open = await listOpenBatches(client);
  return abandoned.filter((message) => !open.some((batch) => holds(batch, message)));
}

/**
 * Filters with at most `limit` concurrent calls of `keeps`; keeps the order.
 *
 * @throws the first failure, once the calls in flight have ended
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
  { eventId, topic, partition, offset }: Message,
): Promise<boolean> {
  const parking = workflowIds.parkDeadLetter({ topic, partition, offset });
  if (eventId !== null && (await isOpen(client, workflowIds.handleEvent(eventId)))) return true;
  return isOpen(client, parking);
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

// The ID of a batch is a hash of its messages, so the batch of a message can only be found among
// the open ones.
async function listOpenBatches(client: Client): Promise<OpenBatch[]> {
  const batches: OpenBatch[] = [];
  for await (const batch of client.workflow.list({ query: openBatchesQuery })) batches.push(batch);
  return batches;
}

function holds({ workflowId, memo }: OpenBatch, message: Message): boolean {
  const { topic, partition, offset } = message;
  if (offset === null) return false;
  // Batches of earlier versions have no memo.
  const range = memo?.offsets?.[`${topic}/${partition}`] ?? readBatchOffsets(workflowId, message);
  return range !== undefined && offset >= range[0] && offset <= range[1];
}
