/**
 * Dead letters: messages that cannot be events, or whose effects can never be applied, kept byte
 * for byte in the table `dead_letters`. The dead-letter topic gets a copy, for other tools.
 */
import { createHash } from 'node:crypto';
import type { Pool } from 'pg';
import {
  decodeBytes,
  decodeHeader,
  type ReceivedEvent,
  type ReceivedHeader,
  type RefusedMessage,
} from '../events/received';
import { redrivenFrom } from '../events/redrive';
import { deadLetterTopicOf } from '../events/topics';
import type { KafkaSender, OutgoingMessage } from '../platform/kafka-sender';
import { deadLettersParked } from '../platform/telemetry';

/** What dead letters need. */
export interface DeadLetterDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** The activities of dead letters. */
export function createDeadLetterActivities({ pool, sender }: DeadLetterDependencies) {
  return {
    /**
     * Parks a message, once: the same coordinates with the same value again change nothing. One
     * that was redriven is linked to the dead letter that it came from, and counts its tries on.
     *
     * @param value the message's bytes, or null when it had none
     * @returns the dead letter's ID
     */
    parkMessage(
      message: RefusedMessage,
      value: Uint8Array | null,
      workflowId: string,
    ): Promise<number> {
      return park(pool, message, value, workflowId);
    },

    /**
     * Parks an event whose effects can never be applied, as the message that it came in; once.
     *
     * @returns the dead letter's ID
     */
    parkEvent(
      { value, ...event }: ReceivedEvent,
      failure: Pick<RefusedMessage, 'reason' | 'detail'>,
      workflowId: string,
    ): Promise<number> {
      const message = { ...event, ...failure, key: { text: event.key } };
      return park(pool, message, Buffer.from(value, 'utf8'), workflowId);
    },

    /**
     * Sends a copy of a dead letter to the dead-letter topic of the topic that it came from. A
     * repeat sends another copy; the table is the truth.
     *
     * @throws KafkaUnavailableError a retry helps
     */
    async copyToDeadLetterTopic(deadLetterId: number): Promise<void> {
      const { rows } = await pool.query<DeadLetterRow>({
        name: 'dead-letter-read',
        text: `
          SELECT topic, partition, "offset", key, value, headers, reason, detail
          FROM collector.dead_letters WHERE id = $1`,
        values: [deadLetterId],
      });
      await sender.send(rows.map((row) => toCopy(deadLetterId, row)));
    },
  };
}

interface DeadLetterRow {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly ReceivedHeader[];
  readonly reason: string;
  readonly detail: string;
}

// The update changes nothing: it makes the statement answer the ID of a row that is there already.
// Anybody can write a header that names a dead letter; only the same message on the same topic is it.
const parkStatement = `
  INSERT INTO collector.dead_letters
    (topic, partition, "offset", key, value, value_hash, headers, produced_at, event_id, reason, detail, workflow_id,
      redriven_from, tries)
  SELECT message.*, earlier.id, coalesce(earlier.tries, 0) + 1
  FROM (VALUES ($1::text, $2::integer, $3::bigint, $4::bytea, $5::bytea, $6::bytea, $7::jsonb, $8::timestamptz,
      $9::text, $10::text, $11::text, $12::text))
    AS message (topic, partition, "offset", key, value, value_hash)
  LEFT JOIN collector.dead_letters AS earlier
    ON earlier.id = $13::bigint AND earlier.topic = message.topic AND earlier.value_hash = message.value_hash
  ON CONFLICT (topic, partition, "offset", value_hash) DO UPDATE SET topic = excluded.topic
  RETURNING id, xmax = 0 AS "isNew"`;

async function park(
  pool: Pool,
  message: RefusedMessage,
  value: Uint8Array | null,
  workflowId: string,
): Promise<number> {
  const { rows } = await pool.query<{ id: number; isNew: boolean }>({
    name: 'dead-letter-park',
    text: parkStatement,
    values: [
      message.topic,
      message.partition,
      message.offset,
      message.key === null ? null : decodeBytes(message.key),
      value,
      createHash('sha256')
        .update(value ?? '')
        .digest(),
      JSON.stringify(message.headers),
      new Date(message.producedAt),
      message.eventId ?? null,
      message.reason,
      message.detail,
      workflowId,
      redrivenFrom(message.headers) ?? null,
    ],
  });
  const { id, isNew } = rows[0]!;
  if (isNew) deadLettersParked.inc({ reason: message.reason });
  return id;
}

function toCopy(deadLetterId: number, row: DeadLetterRow): OutgoingMessage {
  return {
    topic: deadLetterTopicOf(row.topic),
    key: row.key,
    value: row.value,
    headers: [
      ...row.headers.map(decodeHeader),
      ...Object.entries({
        dead_letter_id: String(deadLetterId),
        dead_letter_topic: row.topic,
        dead_letter_partition: String(row.partition),
        dead_letter_offset: String(row.offset),
        dead_letter_reason: row.reason,
        dead_letter_detail: row.detail,
      }).map(([name, value]) => ({ name: Buffer.from(name), value: Buffer.from(value) })),
    ],
  };
}
