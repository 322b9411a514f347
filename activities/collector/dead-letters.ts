/**
 * Dead letters: invalid messages, or events whose effects can never be applied, kept byte for byte in
 * the table `dead_letters`. The dead-letter topic gets a copy, for other tools.
 */
import { createHash } from 'node:crypto';
import type { Pool } from 'pg';
import {
  decodeBytes,
  decodeHeader,
  encodeHeader,
  refusedMessage,
  type ReceivedEvent,
  type ReceivedHeader,
  type RefusedMessage,
  type RefusedOffsets,
} from '../../events/received';
import { redrivenFrom } from '../../events/redrive';
import { deadLetterTopicOf } from '../../events/topics';
import type { KafkaClient } from '../../platform/kafka/client';
import { readEntryAt } from '../../platform/kafka/partition-log';
import { unreadableReasons, type LogEntry } from '../../platform/kafka/record-batch';
import {
  MessageTooLargeError,
  type KafkaSender,
  type OutgoingMessage,
} from '../../platform/kafka/sender';
import { deadLettersParked } from '../../platform/observability/telemetry';

export interface DeadLetterDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
  /** To read what is too large to pass through Temporal. */
  readonly kafka: KafkaClient;
}

export function createDeadLetterActivities({ pool, sender, kafka }: DeadLetterDependencies) {
  return {
    /**
     * Parks a message; idempotent by its coordinates and value. A redriven one is linked to its
     * previous dead letter, and continues its count of attempts.
     *
     * @param value the message's bytes, or null when it had none
     * @returns the dead letter's ID
     */
    parkMessage(
      message: RefusedMessage,
      value: Uint8Array | null,
      workflowId: string,
    ): Promise<number> {
      return park(pool, { message, value, workflowId });
    },

    /**
     * Parks what is at these offsets, once, read from Kafka: a message, or the raw bytes of an
     * unreadable range. If it is gone by now, parks that fact.
     *
     * @returns the dead letter's ID
     * @throws when the partition cannot be read now; retryable
     */
    async parkOffsets(offsets: RefusedOffsets, workflowId: string): Promise<number> {
      const entry = await readEntryAt(kafka, offsets);
      return park(pool, { ...toLetter(offsets, entry), workflowId });
    },

    /**
     * Parks an event whose effects can never be applied, as its original message; idempotent. Headers
     * that were too large to pass on are read from Kafka.
     *
     * @returns the dead letter's ID
     * @throws when the headers cannot be read now; retryable
     */
    async parkEvent(
      { headersInKafka, ...event }: ReceivedEvent,
      failure: Pick<RefusedMessage, 'reason' | 'detail'>,
      workflowId: string,
    ): Promise<number> {
      const value = Buffer.from(event.value, 'utf8');
      const message = { ...event, ...failure, key: { text: event.key } };
      if (headersInKafka !== true) return park(pool, { message, value, workflowId });
      const entry = await readEntryAt(kafka, event);
      const whole =
        entry?.kind === 'record' && entry.value?.equals(value) === true
          ? { ...message, headers: entry.headers.map(encodeHeader) }
          : { ...message, detail: `${failure.detail} ${headersGone}` };
      return park(pool, { message: whole, value, workflowId });
    },

    /**
     * Copies a dead letter to its dead-letter topic, and records that it is there or that the topic
     * will never accept it. A retry sends another copy; the table is authoritative.
     *
     * @throws KafkaUnavailableError retryable
     */
    async copyToDeadLetterTopic(deadLetterId: number): Promise<void> {
      const { rows } = await pool.query<DeadLetterRow>({
        name: 'dead-letter-read',
        text: `
          SELECT topic, partition, "offset", last_offset, key, value, headers, reason, detail
          FROM collector.dead_letters WHERE id = $1`,
        values: [deadLetterId],
      });
      const error = await sendCopies(
        sender,
        rows.map((row) => toCopy(deadLetterId, row)),
      );
      await pool.query({
        name: 'dead-letter-copied',
        text: `
          UPDATE collector.dead_letters SET copied = $2::text IS NULL, copy_error = $2 WHERE id = $1`,
        values: [deadLetterId, error ?? null],
      });
    },
  };
}

/** @returns why the topic will never accept them, if so */
async function sendCopies(
  sender: KafkaSender,
  copies: readonly OutgoingMessage[],
): Promise<string | undefined> {
  try {
    await sender.send(copies);
    return undefined;
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    return `${copies[0]?.topic} rejects the copy as too large; the message is in dead_letters only.`;
  }
}

const headersGone =
  '(The message was gone from Kafka when it was parked: most of its headers are lost.)';

/** A dead letter before it is stored. */
interface Letter {
  readonly message: RefusedMessage;
  readonly value: Uint8Array | null;
  /** For an unreadable range: its last offset. */
  readonly lastOffset?: number;
}

function toLetter(offsets: RefusedOffsets, entry: LogEntry | undefined): Letter {
  const asMessage = !unreadableReasons.some((reason) => reason === offsets.reason);
  if (asMessage && entry?.kind === 'record') {
    return { message: refusedMessage(offsets, offsets, entry), value: entry.value };
  }
  const { lastOffset, ...refused } = offsets;
  const message = { ...refused, key: null, headers: [], producedAt: 0 };
  if (!asMessage && entry?.kind === 'unreadable' && entry.offset === offsets.offset) {
    return { message, value: entry.bytes, lastOffset };
  }
  const detail = `${offsets.detail} (It was gone from Kafka when it was parked: its bytes are lost.)`;
  return { message: { ...message, detail }, value: null, lastOffset };
}

interface DeadLetterRow {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly last_offset: number | null;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly ReceivedHeader[];
  readonly reason: string;
  readonly detail: string;
}

// The no-op update makes the statement return the ID of an existing row. Anybody can send a header that
// names a dead letter; only the same message on the same topic is linked.
const parkStatement = `
  INSERT INTO collector.dead_letters
    (topic, partition, "offset", key, value, value_hash, headers, produced_at, event_id, reason, detail, workflow_id,
      last_offset, redriven_from, tries)
  SELECT message.*, earlier.id, coalesce(earlier.tries, 0) + 1
  FROM (VALUES ($1::text, $2::integer, $3::bigint, $4::bytea, $5::bytea, $6::bytea, $7::jsonb, $8::timestamptz,
      $9::text, $10::text, $11::text, $12::text, $13::bigint))
    AS message (topic, partition, "offset", key, value, value_hash)
  LEFT JOIN collector.dead_letters AS earlier
    ON earlier.id = $14::bigint AND earlier.topic = message.topic AND earlier.value_hash = message.value_hash
  ON CONFLICT (topic, partition, "offset", value_hash) DO UPDATE SET topic = excluded.topic
  RETURNING id, xmax = 0 AS "isNew"`;

async function park(
  pool: Pool,
  { message, value, lastOffset, workflowId }: Letter & { readonly workflowId: string },
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
      storableDetail(message.detail),
      workflowId,
      lastOffset ?? null,
      redrivenFrom(message.headers) ?? null,
    ],
  });
  const { id, isNew } = rows[0]!;
  if (isNew) deadLettersParked.inc({ reason: message.reason });
  return id;
}

/** Longest detail that is stored, in characters. */
const maxDetailLength = 8 * 1024;

// PostgreSQL stores no NUL in text, and a detail may quote a message.
function storableDetail(detail: string): string {
  const text = detail.replaceAll('\0', '\u2400');
  return text.length <= maxDetailLength ? text : `${text.slice(0, maxDetailLength - 1)}…`;
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
        ...(row.last_offset === null ? {} : { dead_letter_last_offset: String(row.last_offset) }),
        dead_letter_reason: row.reason,
        dead_letter_detail: row.detail,
      }).map(([name, value]) => ({ name: Buffer.from(name), value: Buffer.from(value) })),
    ],
  };
}
