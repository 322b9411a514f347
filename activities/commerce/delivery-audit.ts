/**
 * The delivery audit's side of the shop: what is left in the outbox, which publications are to be
 * confirmed, which orders are undecided or still to be cancelled. It reads and writes the schema `commerce` only.
 */
import { createHash } from 'node:crypto';
import { log } from '@temporalio/activity';
import type { Pool } from 'pg';
import type { CancelOrder } from '../../events/orders';
import { MessageTooLargeError, type Delivery, type KafkaSender } from '../../platform/kafka/sender';
import { auditConfirmations, auditFindings } from '../../platform/observability/telemetry';
import { nextOf, type AuditPage, type Publication } from '../audit-pages';
import { outgoingValue, toOutgoing, type Aggregate, type OutboxRow } from './publish';

export interface ShopAuditDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** A page of aggregates with overdue unpublished events. */
export interface UnpublishedPage {
  readonly aggregates: readonly Aggregate[];
  /** The first event of the first aggregate; absent when there is none. */
  readonly firstEventId?: string;
  /** Number of their unpublished events, including those found before. */
  readonly events: number;
  /** The cursor of the next page; absent after the last one. */
  readonly next?: number;
}

/** A page of unconfirmed publications. */
export interface UnconfirmedPage {
  readonly publications: readonly Publication[];
  /** The cursor of the next page; absent after the last one. */
  readonly next?: number;
}

/** A page of undecided orders, and of orders whose cancellation was promised and has not been carried out. */
export interface UndecidedPage {
  readonly orderIds: readonly string[];
  /** The cancellations that were promised of them, by the order's ID; absent from earlier versions. */
  readonly cancellations?: Readonly<Record<string, CancelOrder>>;
  /** The cursor of the next page; absent after the last one. */
  readonly next?: string;
}

export function createShopAuditActivities({ pool, sender }: ShopAuditDependencies) {
  return {
    /**
     * Aggregates with events that were written before `before` and are not published, by sequence.
     * An event is reported and counted only when it is first found.
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

    /** Events that were published before `before` and whose delivery is not confirmed. */
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

    /** Marks events as delivered. @returns how many of them were not marked before */
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
     * Publishes events again and records the positions of the new copies. The collector rejects
     * duplicates, so an extra copy is harmless. An event that Kafka rejects as too large is
     * reported and skipped: it must not block the others.
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

    /**
     * Orders that were placed before `before` and are neither confirmed nor cancelled, and orders whose
     * cancellation was promised before then and that are not cancelled, by ID. Forgets the cancellations
     * that are done.
     */
    async findUndecided(page: AuditPage<string>): Promise<UndecidedPage> {
      const { rows } = await pool.query<UndecidedRow>({
        name: 'audit-undecided',
        text: `
          WITH done AS (
            DELETE FROM commerce.requested_cancellations AS requested WHERE EXISTS (
              SELECT FROM commerce.orders
              WHERE orders.order_id = requested.order_id AND status = 'CANCELLED')
            -- Refused, or lost with Temporal's history. By then no key belongs to it with which it could be
            -- placed.
            OR requested_at < now() - interval '2 days' AND NOT EXISTS (
              SELECT FROM commerce.orders WHERE orders.order_id = requested.order_id)
          ), overdue AS (
            (SELECT order_id FROM commerce.orders
              WHERE status = 'PLACED' AND created_at < to_timestamp($1 / 1000.0) AND order_id > $2
              ORDER BY order_id LIMIT $3)
            UNION
            (SELECT order_id
              FROM commerce.requested_cancellations JOIN commerce.orders USING (order_id)
              WHERE status <> 'CANCELLED' AND requested_at < to_timestamp($1 / 1000.0)
                AND order_id > $2
              ORDER BY order_id LIMIT $3)
          )
          SELECT order_id AS "orderId", reason
          FROM overdue LEFT JOIN commerce.requested_cancellations USING (order_id)
          ORDER BY order_id LIMIT $3`,
        values: [page.before, page.after, page.limit],
      });
      rows.forEach(logUndecided);
      auditFindings.inc({ finding: 'undecided' }, rows.length);
      return {
        orderIds: rows.map(({ orderId }) => orderId),
        cancellations: Object.fromEntries(
          rows.flatMap(({ orderId, reason }) => (reason === null ? [] : [[orderId, { reason }]])),
        ),
        ...nextOf(rows, page.limit, ({ orderId }) => orderId),
      };
    },
  };
}

interface UnpublishedRow extends Aggregate {
  readonly first: number;
  readonly eventIds: readonly string[];
  /** Those first found by this audit. */
  readonly newEventIds: readonly string[];
}

interface UnconfirmedRow extends Omit<Publication, 'valueHash'> {
  readonly sequence: number;
  readonly payload: object;
}

interface UndecidedRow {
  readonly orderId: string;
  /** Of its cancellation; null unless one was promised. */
  readonly reason: string | null;
}

function logUndecided({ orderId, reason }: UndecidedRow): void {
  const what = reason === null ? 'an order is overdue to be decided' : 'a cancellation is overdue';
  log.warn(`${what}; resuming the workflow of the order`, { orderId });
}

function toPublication({ sequence: _, payload, ...publication }: UnconfirmedRow): Publication {
  const hash = createHash('sha256').update(outgoingValue(payload));
  return { ...publication, valueHash: hash.digest('base64') };
}

function logUnpublished({ topic, key, newEventIds }: UnpublishedRow): void {
  for (const eventId of newEventIds) {
    log.warn('an event is overdue to be published; publishing it', { eventId, topic, key });
  }
}

/** Whether it was sent: false for one that is too large. */
async function sendOneAgain(pool: Pool, sender: KafkaSender, row: OutboxRow): Promise<boolean> {
  const { event_id: eventId, topic, key } = row;
  try {
    const [delivery] = await sender.send([toOutgoing(row)]);
    await noteNewCopy(pool, eventId, delivery!);
    log.warn('a published event was lost; published it again', {
      eventId,
      topic,
      key,
      ...delivery,
    });
    auditFindings.inc({ finding: 'republished' });
    return true;
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    log.error('cannot publish a lost event again: Kafka rejects it as too large', {
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
