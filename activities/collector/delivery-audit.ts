/**
 * The delivery audit's side of the collector: which publications have arrived, which are lost, and
 * what is logged but not handled. It reads the schema `collector` only.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { getClient, log } from '@temporalio/activity';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Kafka } from 'kafkajs';
import type { Pool } from 'pg';
import type { BatchOffsets, ReceivedEvent } from '../../events/received';
import { openBatchesQuery, readBatchOffsets, workflowIds } from '../../events/workflow-ids';
import { readGroupProgress, type GroupProgress } from '../../platform/kafka/consumer-lag';
import { auditFindings } from '../../platform/observability/telemetry';
import { forEachConcurrently } from '../../platform/process/concurrency';
import { nextOf, type AuditPage, type Publication } from '../audit-pages';

/** What the audit needs. */
export interface CollectorAuditDependencies {
  readonly pool: Pool;
  readonly kafka: Kafka;
  /** The bridge's consumer group. */
  readonly groupId: string;
}

/**
 * What has become of publications. Those that are neither are not consumed yet, being handled, or
 * parked: a dead letter may be redriven, and has to arrive again then.
 */
export interface Arrivals {
  /** IDs of events that are logged, or given up by a person. */
  readonly arrived: readonly string[];
  /** IDs of events that can come no more although they are in no place, and nobody works on them. */
  readonly lost: readonly string[];
}

/** A page of events that are logged, but neither handled nor parked. */
export interface UnhandledPage {
  readonly eventIds: readonly string[];
  /** When the first of them was logged, in ms since the epoch; absent when there is none. */
  readonly oldest?: number;
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: string;
}

/** The activities of the audit that read the collector's tables. */
export function createCollectorAuditActivities(dependencies: CollectorAuditDependencies) {
  const { pool } = dependencies;
  return {
    /**
     * Which of the publications have arrived, and which are lost.
     *
     * The order of the looks makes it exact. Offsets first: a message that they have passed has had
     * its workflow started before. Then the workflows: one that is not open now has ended. Then the
     * log once more: what ended has written there, so what is missing now is missing for good.
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
     * Events that were logged in a span of time, or sent back from the dead letters in it, and are
     * neither handled nor parked, by ID.
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
      for (const { eventId } of rows) log.warn('an event is not handled; handling it', { eventId });
      auditFindings.inc({ finding: 'unhandled' }, rows.length);
      return {
        eventIds: rows.map(({ eventId }) => eventId),
        ...(rows.length === 0 ? {} : { oldest: Math.min(...rows.map(({ loggedAt }) => loggedAt)) }),
        ...nextOf(rows, page.limit, ({ eventId }) => eventId),
      };
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

/** Where an event is that is not to be sent again. */
type Place =
  /** In the log, or given up by a person: nothing more will come of it. */
  | 'arrived'
  /** Among the dead letters, which may be redriven; or redriven a moment ago. */
  | 'parked';

// A letter may claim any ID in a header; only one with the event's own bytes is that event.
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
  // 'arrived' comes last, and is what counts of an event that is in both.
  return new Map(rows.map(({ event_id, place }) => [event_id, place]));
}

/** How long a message that was sent back may take to arrive, in ms. */
const redrivenGraceMs = 600_000;

/** Those that the consumer group cannot come to any more. */
async function keepGone(
  { kafka, groupId }: CollectorAuditDependencies,
  publications: readonly Publication[],
): Promise<Publication[]> {
  const topics = [...new Set(publications.map(({ topic }) => topic))];
  const progress = await readGroupProgress(kafka, groupId, topics);
  return publications.filter((publication) => isGone(publication, progress));
}

/**
 * Whether the group cannot come to a message any more: it has passed it, or the log does not reach
 * there, since it was deleted, or cut, or made anew. Of a topic that cannot be read nothing is known.
 * Pure.
 */
export function isGone(
  { topic, partition, offset }: Pick<Publication, 'topic' | 'partition' | 'offset'>,
  { partitions, unreadable }: GroupProgress,
): boolean {
  // Without coordinates nothing was sent, or it cannot be told where: a repeat costs nothing.
  if (partition === null || offset === null || partition < 0) return true;
  if (unreadable.some((each) => each.topic === topic)) return false;
  const log = partitions.find((each) => each.topic === topic && each.partition === partition);
  if (log === undefined || offset < log.start || offset >= log.end) return true;
  // Beyond the end, the group's offset speaks of a topic that has been made anew since.
  return log.committed !== null && log.committed <= log.end && offset < log.committed;
}

/** How long Temporal may take to list a workflow that it has started, in ms. */
const listingDelayMs = 2_000;

/** Asked about at once: at 40 ms a call, a thousand events take two seconds instead of eighty. */
const lookUpsAtOnce = 50;

/** Those that no open workflow is about to log or to park. */
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
 * Those of which `keeps` says so, in their order, with at most `limit` asked about at once.
 *
 * @throws the first failure, after what is under way
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
  const parking = workflowIds.parkDeadLetter({ topic, partition, offset });
  const handling = workflowIds.handleEvent(eventId);
  return (await isOpen(client, handling)) || (await isOpen(client, parking));
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

// A batch is named by a hash of its messages, so which one holds one can only be found among the open
// ones.
async function listOpenBatches(client: Client): Promise<OpenBatch[]> {
  const batches: OpenBatch[] = [];
  for await (const batch of client.workflow.list({ query: openBatchesQuery })) batches.push(batch);
  return batches;
}

function holds({ workflowId, memo }: OpenBatch, publication: Publication): boolean {
  const { topic, partition, offset } = publication;
  if (offset === null) return false;
  // Batches of earlier versions have no memo.
  const range =
    memo?.offsets?.[`${topic}/${partition}`] ?? readBatchOffsets(workflowId, publication);
  return range !== undefined && offset >= range[0] && offset <= range[1];
}
