/**
 * Resolves dead letters: redrives one in three steps, or discards it.
 *
 * The row decides, not the workflow: a redrive claims the row, sends, and settles the row; each step is
 * idempotent. A crash between sending and settling sends the message again, as a redelivery would; its
 * event still takes effect once.
 */
import { ApplicationFailure } from '@temporalio/common';
import type { Pool } from 'pg';
import { decodeHeader, type Coordinates, type ReceivedHeader } from '../../events/received';
import {
  withRedrivenFrom,
  type DeadLetterStatus,
  type DiscardDeadLetter,
  type DiscardOutcome,
  type RedriveDeadLetter,
  type RedriveOutcome,
} from '../../events/redrive';
import { MessageTooLargeError, type KafkaSender } from '../../platform/kafka/sender';

export interface DeadLetterResolutionDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** The `type` of failures for a message that Kafka will never accept. */
const redriveRefused = 'REDRIVE_REFUSED';

/** A redrive that may proceed, or the state of the dead letter that prevents it. */
export type RedriveClaim = { readonly kind: 'claimed' } | RedriveOutcome;

export function createDeadLetterResolutionActivities({
  pool,
  sender,
}: DeadLetterResolutionDependencies) {
  return {
    /** Claims a dead letter for this redrive, so that it cannot be discarded meanwhile. */
    async claimRedrive({ deadLetterId, attempt, again }: RedriveDeadLetter): Promise<RedriveClaim> {
      const { rowCount } = await pool.query({
        name: 'redrive-claim',
        text: `
          UPDATE collector.dead_letters SET redriving_since = coalesce(redriving_since, now())
          WHERE id = $1 AND attempt = $2 - 1 AND (status = 'parked' OR $3) AND last_offset IS NULL`,
        values: [deadLetterId, attempt, again],
      });
      if (rowCount === 1) return { kind: 'claimed' };
      const row = await find(pool, deadLetterId);
      return row === undefined ? { kind: 'unknown-dead-letter' } : whyNotClaimed(row, attempt);
    },

    /**
     * Sends the dead letter to its original topic: key, value and headers, plus one that marks the
     * redrive. A retry sends it again.
     *
     * @throws KafkaUnavailableError retryable
     * @throws ApplicationFailure non-retryable, of type `REDRIVE_REFUSED`
     */
    async sendRedriven(deadLetterId: number): Promise<Coordinates> {
      const { topic, key, value, headers } = await readMessage(pool, deadLetterId);
      const message = {
        topic,
        key,
        value,
        headers: withRedrivenFrom(headers, deadLetterId).map(decodeHeader),
      };
      const [delivery] = await sendOrRefuse(sender, message);
      return { topic, partition: delivery!.partition, offset: delivery!.offset };
    },

    /** Marks a claimed dead letter as redriven. Idempotent. */
    async settleRedrive({ deadLetterId, attempt, by }: RedriveDeadLetter): Promise<void> {
      await pool.query({
        name: 'redrive-settle',
        // Keeps the reason of an earlier discard.
        text: `
          UPDATE collector.dead_letters
          SET status = 'redriven', attempt = $2, redriving_since = NULL,
            resolved_at = now(), resolved_by = $3,
            note = CASE status WHEN 'discarded' THEN 'discarded before: ' || note END
          WHERE id = $1 AND attempt = $2 - 1`,
        values: [deadLetterId, attempt, by],
      });
    },

    /** Releases a claimed dead letter, with a note of the reason. Idempotent. */
    async abandonRedrive(
      { deadLetterId, attempt }: RedriveDeadLetter,
      detail: string,
    ): Promise<void> {
      await pool.query({
        name: 'redrive-abandon',
        text: `
          UPDATE collector.dead_letters
          SET attempt = $2, redriving_since = NULL,
            note = CASE status WHEN 'parked' THEN $3 ELSE note END
          WHERE id = $1 AND attempt = $2 - 1`,
        values: [deadLetterId, attempt, detail],
      });
    },

    /** Discards a parked dead letter, once: the first caller's name and reason are kept. */
    async markDiscarded({ deadLetterId, by, reason }: DiscardDeadLetter): Promise<DiscardOutcome> {
      const { rowCount } = await pool.query({
        name: 'dead-letter-discard',
        text: `
          UPDATE collector.dead_letters
          SET status = 'discarded', resolved_at = now(), resolved_by = $2, note = $3
          WHERE id = $1 AND status = 'parked' AND redriving_since IS NULL`,
        values: [deadLetterId, by, reason],
      });
      if (rowCount === 1) return { kind: 'discarded' };
      const row = await find(pool, deadLetterId);
      if (row === undefined) return { kind: 'unknown-dead-letter' };
      if (row.redriving) return { kind: 'redriving' };
      const { status } = row;
      return status === 'discarded' ? { kind: 'discarded' } : { kind: 'settled', status };
    },
  };
}

interface DeadLetterState {
  readonly status: DeadLetterStatus;
  readonly attempt: number;
  readonly redriving: boolean;
  readonly unreadable: boolean;
  readonly note: string | null;
}

/** Another run of the same attempt may have settled it; otherwise it was resolved before. */
function whyNotClaimed(
  { status, attempt, note, unreadable }: DeadLetterState,
  asked: number,
): RedriveOutcome {
  if (unreadable) return { kind: 'unreadable' };
  if (attempt < asked) return { kind: 'settled', status };
  if (status === 'redriven') return { kind: 'redriven' };
  if (status === 'parked' && note !== null) return { kind: 'refused', detail: note };
  return { kind: 'settled', status };
}

async function find(pool: Pool, deadLetterId: number): Promise<DeadLetterState | undefined> {
  const { rows } = await pool.query<DeadLetterState>({
    name: 'dead-letter-state',
    text: `
      SELECT status, attempt, redriving_since IS NOT NULL AS redriving,
        last_offset IS NOT NULL AS unreadable, note
      FROM collector.dead_letters WHERE id = $1`,
    values: [deadLetterId],
  });
  return rows[0];
}

interface Message {
  readonly topic: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly ReceivedHeader[];
}

async function readMessage(pool: Pool, deadLetterId: number): Promise<Message> {
  const { rows } = await pool.query<Message>({
    name: 'dead-letter-message',
    text: 'SELECT topic, key, value, headers FROM collector.dead_letters WHERE id = $1',
    values: [deadLetterId],
  });
  const [message] = rows;
  if (message !== undefined) return message;
  throw ApplicationFailure.nonRetryable(
    `Dead letter ${deadLetterId} was deleted while it was being redriven.`,
    redriveRefused,
  );
}

async function sendOrRefuse(sender: KafkaSender, message: Parameters<KafkaSender['send']>[0][0]) {
  try {
    return await sender.send([message]);
  } catch (error) {
    if (!(error instanceof MessageTooLargeError)) throw error;
    throw ApplicationFailure.create({
      type: redriveRefused,
      message:
        `Kafka rejects the message as too large. Raise max.message.bytes of the topic ` +
        `${message.topic} and redrive it again, or discard it.`,
      nonRetryable: true,
      cause: error,
    });
  }
}
