/**
 * Publishing the outbox: every event that was written is sent until the brokers have acknowledged
 * it, and the events of one aggregate leave in the order of their commits.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import type { Pool, PoolClient } from 'pg';
import type { EventTopic } from '../events/topics';
import { KafkaUnavailableError, type Delivery, type KafkaSender } from '../platform/kafka-sender';
import { inTransaction } from '../platform/postgres';

/** What publishing needs. */
export interface PublishDependencies {
  /** A pool of its own: while Kafka is away, relays must not hold the connections that orders need. */
  readonly relayPool: Pool;
  readonly sender: KafkaSender;
}

/** The aggregate whose events are to be published. */
export interface Aggregate {
  readonly topic: EventTopic;
  /** The aggregate's ID, which is the messages' key. */
  readonly key: string;
}

/** The activities of publishing. */
export function createPublishActivities({ relayPool, sender }: PublishDependencies) {
  return {
    /**
     * Sends all events of an aggregate that are not marked as published, in order, and marks them
     * with where they went. Returns when the brokers have acknowledged them, or at once when
     * another relay has sent them. Trying again sends only what is not marked.
     *
     * @throws KafkaUnavailableError, or a failure of type `AGGREGATE_BUSY` while another relay
     * sends this aggregate's events; a retry helps in both cases
     */
    async publishOutbox(aggregate: Aggregate): Promise<void> {
      if (!(await hasUnpublished(relayPool, aggregate))) return;
      if (!sender.isConnected()) throw new KafkaUnavailableError('Not connected to Kafka.');
      await inTransaction(relayPool, async (connection) => {
        await takeTurn(connection, aggregate);
        await publishAll(connection, sender, aggregate);
      });
    },
  };
}

const turnRetryMs = 50;
const turnTries = 20;

// A lock of the transaction: it cannot be left behind, and when its holder freezes, PostgreSQL
// ends the transaction (see the pool's idle time-out) and the next one gets its turn.
async function takeTurn(connection: PoolClient, { topic, key }: Aggregate): Promise<void> {
  for (let tries = 1; tries <= turnTries; tries += 1) {
    const { rows } = await connection.query<{ taken: boolean }>({
      name: 'outbox-turn',
      text: 'SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0)) AS taken',
      values: [`outbox/${topic}/${key}`],
    });
    if (rows[0]?.taken === true) return;
    await sleep(turnRetryMs);
  }
  throw ApplicationFailure.retryable(
    `Another relay is publishing the events of ${key}; its turn was not over in time.`,
    'AGGREGATE_BUSY',
  );
}

// Bounds the memory and the requests of one round; the next round takes what is left.
const eventsPerRound = 500;

async function publishAll(
  connection: PoolClient,
  sender: KafkaSender,
  aggregate: Aggregate,
): Promise<void> {
  for (;;) {
    const events = await selectUnpublished(connection, aggregate);
    if (events.length === 0) return;
    const deliveries = await sender.send(events.map((event) => toOutgoing(aggregate, event)));
    await markPublished(connection, events, deliveries);
    if (events.length < eventsPerRound) return;
  }
}

interface OutboxRow {
  readonly event_id: string;
  readonly type: string;
  readonly payload: object;
}

function toOutgoing({ topic, key }: Aggregate, { event_id, type, payload }: OutboxRow) {
  return {
    topic,
    key,
    value: JSON.stringify(payload),
    headers: { 'content-type': 'application/cloudevents+json', ce_id: event_id, ce_type: type },
  };
}

async function hasUnpublished(pool: Pool, { topic, key }: Aggregate): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'outbox-has-unpublished',
    text: `
      SELECT 1 FROM commerce.outbox
      WHERE topic = $1 AND key = $2 AND published_at IS NULL LIMIT 1`,
    values: [topic, key],
  });
  return rowCount === 1;
}

async function selectUnpublished(
  connection: PoolClient,
  { topic, key }: Aggregate,
): Promise<OutboxRow[]> {
  const { rows } = await connection.query<OutboxRow>({
    name: 'outbox-unpublished',
    text: `
      SELECT event_id, type, payload FROM commerce.outbox
      WHERE topic = $1 AND key = $2 AND published_at IS NULL
      ORDER BY sequence LIMIT $3`,
    values: [topic, key, eventsPerRound],
  });
  return rows;
}

async function markPublished(
  connection: PoolClient,
  events: readonly OutboxRow[],
  deliveries: readonly Delivery[],
): Promise<void> {
  await connection.query({
    name: 'outbox-mark',
    text: `
      UPDATE commerce.outbox
      SET published_at = now(), partition = sent.partition, "offset" = sent."offset"
      FROM unnest($1::text[], $2::int[], $3::bigint[]) AS sent (event_id, partition, "offset")
      WHERE outbox.event_id = sent.event_id AND outbox.published_at IS NULL`,
    values: [
      events.map(({ event_id }) => event_id),
      deliveries.map(({ partition }) => partition),
      deliveries.map(({ offset }) => offset),
    ],
  });
}
