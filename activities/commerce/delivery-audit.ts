/**
 * The delivery audit's side of the shop: what is left in the outbox, which publications are to be
 * confirmed, which orders are undecided. It reads and writes the schema `commerce` only.
 */
import { createHash } from 'node:crypto';
import { log } from '@temporalio/activity';
import type { Pool } from 'pg';
import { MessageTooLargeError, type Delivery, type KafkaSender } from '../../platform/kafka/sender';
import { auditConfirmations, auditFindings } from '../../platform/observability/telemetry';
import { nextOf, type AuditPage, type Publication } from '../audit-pages';
import { outgoingValue, toOutgoing, type Aggregate, type OutboxRow } from './publish';

/** What the audit needs. */
export interface ShopAuditDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** A page of aggregates with events that nobody has published. */
export interface UnpublishedPage {
  readonly aggregates: readonly Aggregate[];
  /** The first event of the first aggregate; absent when there is none. */
  readonly firstEventId?: string;
  /** How many events of these aggregates are left behind; those that were found before count, too. */
  readonly events: number;
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: number;
}

/** A page of publications that have not been confirmed. */
export interface UnconfirmedPage {
  readonly publications: readonly Publication[];
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: number;
}

/** A page of orders that are not decided. */
export interface UndecidedPage {
  readonly orderIds: readonly string[];
  /** Where the next page begins; absent when this is the last one. */
  readonly next?: string;
}

/** The activities of the audit that read the shop's tables. */
export function createShopAuditActivities({ pool, sender }: ShopAuditDependencies) {
  return {
    /**
     * Aggregates with events that were written before `before` and are not published, by sequence. An
     * event is logged and counted when it is found first, never again.
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

    /** Events that were published before `before` and not found at the other end so far. */
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

    /** Marks events as found at the other end. @returns how many of them were not marked before */
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
     * Sends published events once more and notes where the new copies went. Whoever handles them
     * refuses repeats, so one too many does no harm. An event that Kafka refuses for its size is
     * logged and left as it is: it must not keep the others from being sent.
     *
     * @returns how many were sent
     * @throws KafkaUnavailableError a retry helps, and sends only what is left
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
        log.warn('an order is undecided; carrying it on', { orderId });
      auditFindings.inc({ finding: 'undecided' }, rows.length);
      return {
        orderIds: rows.map(({ orderId }) => orderId),
        ...nextOf(rows, page.limit, ({ orderId }) => orderId),
      };
    },
  };
}

interface UnpublishedRow extends Aggregate {
  readonly first: number;
  /** In their order. */
  readonly eventIds: readonly string[];
  /** Those that no audit has found before. */
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
    log.warn('an event was left unpublished; publishing it', { eventId, topic, key });
  }
}

/** Whether it was sent: an event that is too large never will be. */
async function sendOneAgain(pool: Pool, sender: KafkaSender, row: OutboxRow): Promise<boolean> {
  const { event_id: eventId, topic, key } = row;
  try {
    const [delivery] = await sender.send([toOutgoing(row)]);
    await noteNewCopy(pool, eventId, delivery!);
    log.warn('a published event had not arrived; sent it again', {
      eventId,
      topic,
      key,
      ...delivery,
    });
    auditFindings.inc({ finding: 'republished' });
    return true;
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    log.error('a lost event cannot be sent again: Kafka refuses it for its size', {
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
