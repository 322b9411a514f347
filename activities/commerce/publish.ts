/**
 * The outbox relay, at-least-once: every event is sent until the brokers acknowledge it, the events of
 * one aggregate in commit order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import type { Pool, PoolClient } from 'pg';
import { toMessage, type Event } from '../../events/envelope';
import { eventTopics, type EventTopic } from '../../events/topics';
import {
  KafkaUnavailableError,
  type Delivery,
  type KafkaSender,
  type OutgoingMessage,
} from '../../platform/kafka/sender';
import { afterCommit, inTransaction } from '../../platform/postgres/pool';
import { eventsPublished, publicationDelay } from '../../platform/observability/telemetry';
import { currentTraceHeaders, publicationHeaders } from '../../platform/observability/tracing';
import { createOutagePacing, type OutagePacing } from './outage-pacing';

export interface PublishDependencies {
  /**
   * A separate pool: while Kafka is unavailable, relays must not hold the connections that orders need.
   */
  readonly relayPool: Pool;
  readonly sender: KafkaSender;
}

/** An aggregate with events to publish. */
export interface Aggregate {
  readonly topic: EventTopic;
  /** The aggregate's ID: the message key. */
  readonly key: string;
}

export function createPublishActivities({ relayPool, sender }: PublishDependencies) {
  const pacing = createOutagePacing();
  const send: Send = async (messages) => {
    const deliveries = await sender.send(messages);
    pacing.ended();
    return deliveries;
  };
  return {
    /**
     * Sends all unpublished events of the aggregates, each aggregate's in order, and marks them with
     * their offsets. Returns when the brokers have acknowledged them, or at once when another relay has
     * sent them. A retry sends only what is not marked.
     *
     * An unavailable topic blocks only its own events.
     *
     * @throws ApplicationFailure of type `KAFKA_UNAVAILABLE`, of type `TOPIC_UNAVAILABLE` once the
     *   events of other topics are sent, or `AGGREGATE_BUSY` while another relay holds the lock of one
     *   of the aggregates; all are retryable
     */
    async publishOutbox(aggregates: readonly Aggregate[]): Promise<void> {
      await paced(pacing, async () => {
        let left = await withUnpublished(relayPool, aggregates);
        for (let tries = 1; left.length > 0 && tries <= turnTries; tries += 1) {
          if (tries > 1) await sleep(turnRetryMs);
          assertConnected(sender, left);
          if (await publishThoseFree(relayPool, send, left)) return;
          left = await withUnpublished(relayPool, left);
        }
        if (left.length > 0) throw busy(left);
      });
    },

    /**
     * Sends events that are not in the outbox, at-least-once: a retry sends them again, and the
     * collector rejects the duplicates.
     *
     * @throws ApplicationFailure of type `KAFKA_UNAVAILABLE` or `TOPIC_UNAVAILABLE`; retryable
     */
    async publishDirectly(events: readonly Event[]): Promise<void> {
      const trace = currentTraceHeaders();
      const messages = events
        .map(toMessage)
        .map((each) => ({ ...each, headers: { ...each.headers, ...trace } }));
      await paced(pacing, () => send(messages));
      for (const { type } of events) eventsPublished.inc({ type });
    },
  };
}

type Send = KafkaSender['send'];

function assertConnected(sender: KafkaSender, aggregates: readonly Aggregate[]): void {
  if (aggregates.some(({ topic }) => sender.isConnected(topic))) return;
  const topics = [...new Set(aggregates.map(({ topic }) => topic))].join(', ');
  throw new KafkaUnavailableError(`Kafka unavailable for ${topics}.`);
}

/** Backoff while Kafka is unavailable: the more workflows wait, the less often each retries. */
async function paced(pacing: OutagePacing, publish: () => Promise<unknown>): Promise<void> {
  try {
    await publish();
  } catch (error) {
    if (!(error instanceof KafkaUnavailableError)) throw error;
    throw ApplicationFailure.create({
      type: error.code,
      message: error.message,
      cause: error,
      nextRetryDelay: pacing.refused(),
    });
  }
}

const turnRetryMs = 50;
const turnTries = 20;

// Limits the memory and the requests of one round; the next round takes the rest.
const eventsPerRound = 500;

/**
 * Publishes the aggregates whose lock is free. A topic's failure is thrown after the other topics'
 * events are marked.
 *
 * @returns whether nothing is left to publish
 */
async function publishThoseFree(
  relayPool: Pool,
  send: Send,
  aggregates: readonly Aggregate[],
): Promise<boolean> {
  const { isAll, failures } = await inTransaction(relayPool, async (connection) => {
    const free = await acquireLocks(connection, aggregates);
    const events = free.length === 0 ? [] : await selectUnpublished(connection, free);
    const sent = await sendByTopic(send, events);
    if (sent.events.length > 0) await markPublished(connection, sent.events, sent.deliveries);
    const isAll = free.length === aggregates.length && events.length < eventsPerRound;
    return { isAll, failures: sent.failures };
  });
  if (failures.length > 0) throw failures[0];
  return isAll;
}

/** What was sent, and why the rest was not. */
interface Sent {
  readonly events: OutboxRow[];
  readonly deliveries: Delivery[];
  readonly failures: unknown[];
}

async function sendByTopic(send: Send, events: readonly OutboxRow[]): Promise<Sent> {
  const sent: Sent = { events: [], deliveries: [], failures: [] };
  await Promise.all(
    eventTopics.map(async (topic) => {
      const own = events.filter((event) => event.topic === topic);
      try {
        sent.deliveries.push(...(await send(own.map(toOutgoing))));
        sent.events.push(...own);
      } catch (error) {
        sent.failures.push(error);
      }
    }),
  );
  return sent;
}

// Transaction-level advisory locks: they cannot leak, and when their holder freezes, PostgreSQL ends
// the transaction (see the pool's idle timeout) and releases them.
async function acquireLocks(
  connection: PoolClient,
  aggregates: readonly Aggregate[],
): Promise<Aggregate[]> {
  const { rows } = await connection.query<{ taken: boolean }>({
    name: 'outbox-turns',
    text: `
      SELECT pg_try_advisory_xact_lock(hashtextextended(name, 0)) AS taken
      FROM unnest($1::text[]) WITH ORDINALITY AS turn (name, position) ORDER BY position`,
    values: [aggregates.map(({ topic, key }) => `outbox/${topic}/${key}`)],
  });
  return aggregates.filter((_, index) => rows[index]?.taken);
}

function busy(aggregates: readonly Aggregate[]): ApplicationFailure {
  const keys = aggregates.map(({ key }) => key).join(', ');
  return ApplicationFailure.retryable(
    `Other relays are publishing the events of ${keys}; timed out waiting for their locks.`,
    'AGGREGATE_BUSY',
  );
}

/** What a message is made from. */
export interface OutboxRow {
  readonly event_id: string;
  readonly topic: EventTopic;
  readonly key: string;
  readonly type: string;
  readonly payload: object;
  /** The trace that it was written in. */
  readonly traceparent: string | null;
}

/** The message value of an event in the outbox: the same bytes on every send. */
export function outgoingValue(payload: object): string {
  return JSON.stringify(payload);
}

/** The message of an event in the outbox. */
export function toOutgoing(row: OutboxRow): OutgoingMessage {
  const { event_id, topic, key, type, payload, traceparent } = row;
  return {
    topic,
    key,
    value: outgoingValue(payload),
    headers: {
      'content-type': 'application/cloudevents+json',
      ce_id: event_id,
      ce_type: type,
      ...publicationHeaders(traceparent ?? undefined, {
        name: `publish ${type}`,
        attributes: {
          'messaging.system': 'kafka',
          'messaging.destination.name': topic,
          'messaging.kafka.message.key': key,
          'messaging.message.id': event_id,
        },
      }),
    },
  };
}

async function withUnpublished(
  pool: Pool,
  aggregates: readonly Aggregate[],
): Promise<readonly Aggregate[]> {
  const { rows } = await pool.query<Aggregate>({
    name: 'outbox-with-unpublished',
    text: `
      SELECT topic, key FROM unnest($1::text[], $2::text[]) AS aggregate (topic, key)
      WHERE EXISTS (
        SELECT FROM commerce.outbox
        WHERE outbox.topic = aggregate.topic AND outbox.key = aggregate.key
          AND published_at IS NULL)`,
    values: columnsOf(aggregates),
  });
  return rows;
}

async function selectUnpublished(
  connection: PoolClient,
  aggregates: readonly Aggregate[],
): Promise<OutboxRow[]> {
  const { rows } = await connection.query<OutboxRow>({
    name: 'outbox-unpublished',
    text: `
      SELECT event_id, topic, key, type, payload, traceparent
      FROM unnest($1::text[], $2::text[]) AS aggregate (topic, key)
      JOIN commerce.outbox USING (topic, key)
      WHERE published_at IS NULL
      ORDER BY sequence LIMIT $3`,
    values: [...columnsOf(aggregates), eventsPerRound],
  });
  return rows;
}

function columnsOf(aggregates: readonly Aggregate[]): [topics: string[], keys: string[]] {
  return [aggregates.map(({ topic }) => topic), aggregates.map(({ key }) => key)];
}

async function markPublished(
  connection: PoolClient,
  events: readonly OutboxRow[],
  deliveries: readonly Delivery[],
): Promise<void> {
  const { rows } = await connection.query<{ type: string; seconds: number }>({
    name: 'outbox-mark',
    text: `
      UPDATE commerce.outbox
      SET published_at = now(), partition = sent.partition, "offset" = sent."offset"
      FROM unnest($1::text[], $2::int[], $3::bigint[]) AS sent (event_id, partition, "offset")
      WHERE outbox.event_id = sent.event_id AND outbox.published_at IS NULL
      RETURNING type, extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds`,
    values: [
      events.map(({ event_id }) => event_id),
      deliveries.map(({ partition }) => partition),
      deliveries.map(({ offset }) => offset),
    ],
  });
  afterCommit(connection, () => {
    for (const { type, seconds } of rows) {
      eventsPublished.inc({ type });
      publicationDelay.observe(seconds);
    }
  });
}
