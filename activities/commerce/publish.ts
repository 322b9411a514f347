/**
 * The outbox relay, at-least-once: every event is sent until the brokers acknowledge it, the events of
 * one aggregate in commit order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import type { Pool, PoolClient } from 'pg';
import { toMessage, type Event } from '../../events/envelope';
import type { EventTopic } from '../../events/topics';
import {
  KafkaUnavailableError,
  type Delivery,
  type KafkaSender,
  type OutgoingMessage,
} from '../../platform/kafka/sender';
import { afterCommit, inTransaction } from '../../platform/postgres/pool';
import { eventsPublished, publicationDelay } from '../../platform/observability/telemetry';
import { currentTraceHeaders, publicationHeaders } from '../../platform/observability/tracing';
import { createOutagePacing, type OutagePacing } from '../outage-pacing';

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
    pacing.succeeded();
    return deliveries;
  };
  return {
    /**
     * Sends all unpublished events of the aggregates, each aggregate's in order, and marks them with
     * their offsets. Returns when the brokers have acknowledged them, or at once when another relay has
     * sent them. A retry sends only what is not marked.
     *
     * An unavailable topic or partition blocks only its own events.
     *
     * @throws ApplicationFailure of type `KAFKA_UNAVAILABLE` or `TOPIC_UNAVAILABLE` once what could be
     *   sent is sent, or `AGGREGATE_BUSY` while another relay holds the lock of one
     *   of the aggregates; all are retryable
     */
    async publishOutbox(aggregates: readonly Aggregate[]): Promise<void> {
      await paced(pacing, async () => {
        let left = aggregates;
        for (let tries = 1; tries <= turnTries; tries += 1) {
          if (tries > 1) await sleep(turnRetryMs);
          // Without Kafka no connection is held, but what another relay has sent needs none.
          if (!isConnected(sender, left)) left = await withUnpublished(relayPool, left);
          if (left.length === 0) return;
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

function isConnected(sender: KafkaSender, aggregates: readonly Aggregate[]): boolean {
  return aggregates.some(({ topic }) => sender.isConnected(topic));
}

function assertConnected(sender: KafkaSender, aggregates: readonly Aggregate[]): void {
  if (isConnected(sender, aggregates)) return;
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
 * Publishes the aggregates whose lock is free. A failure is thrown after the events that were sent are
 * marked.
 *
 * @returns whether nothing is left to publish
 */
async function publishThoseFree(
  relayPool: Pool,
  send: Send,
  aggregates: readonly Aggregate[],
): Promise<boolean> {
  const { isAll, failures } = await inTransaction(relayPool, async (connection) => {
    const { isFree, events } = await takeTurns(connection, aggregates);
    const sent = await sendByAggregate(send, events);
    if (sent.events.length > 0) await markPublished(connection, sent.events, sent.deliveries);
    const isAll = aggregates.every(isFree) && events.length < eventsPerRound;
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

// A call for each aggregate, so that an unavailable partition fails the events of its own aggregates only.
// Calls at the same time share their requests.
async function sendByAggregate(send: Send, events: readonly OutboxRow[]): Promise<Sent> {
  const sent: Sent = { events: [], deliveries: [], failures: [] };
  await Promise.all(
    byAggregate(events).map(async (own) => {
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

function byAggregate(events: readonly OutboxRow[]): OutboxRow[][] {
  const aggregates = new Map<string, OutboxRow[]>();
  for (const event of events) {
    const name = nameOf(event);
    const own = aggregates.get(name);
    if (own === undefined) aggregates.set(name, [event]);
    else own.push(event);
  }
  return [...aggregates.values()];
}

/** What a relay has to itself until its transaction ends. */
interface Turns {
  /** Whether no other relay is publishing the events of an aggregate. */
  isFree(aggregate: Aggregate): boolean;
  /** Those of the aggregates that are free, in order. */
  readonly events: OutboxRow[];
}

// Transaction-level advisory locks: they cannot leak, and when their holder freezes, PostgreSQL ends
// the transaction (see the pool's idle timeout) and releases them.
async function takeTurns(connection: PoolClient, aggregates: readonly Aggregate[]): Promise<Turns> {
  const { rows } = await connection.query<Aggregate & (OutboxRow | { event_id: null })>({
    name: 'outbox-turns',
    text: 'SELECT * FROM commerce.unpublished_in_turn($1, $2, $3)',
    values: [...columnsOf(aggregates), eventsPerRound],
  });
  const free = new Set(rows.map(nameOf));
  return {
    isFree: (aggregate) => free.has(nameOf(aggregate)),
    events: rows.filter((row) => row.event_id !== null),
  };
}

function nameOf({ topic, key }: Aggregate): string {
  return `${topic}/${key}`;
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
