/**
 * Settling dead letters: sending one back to its topic in three steps, or giving it up.
 *
 * The row decides, not the workflow: a redrive claims the row, sends, and settles the row, and each
 * step finds out by itself whether it has happened before. A crash between sending and settling
 * sends the message once more, as Kafka's own redelivery would; its event takes effect once all the
 * same.
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

/** What settling dead letters needs. */
export interface DeadLetterResolutionDependencies {
  readonly pool: Pool;
  readonly sender: KafkaSender;
}

/** The `type` of failures that say: Kafka will never take this message. */
const redriveRefused = 'REDRIVE_REFUSED';

/** A redrive that may go on, or what has become of the dead letter instead. */
export type RedriveClaim = { readonly kind: 'claimed' } | RedriveOutcome;

/** The activities that settle dead letters. */
export function createDeadLetterResolutionActivities({
  pool,
  sender,
}: DeadLetterResolutionDependencies) {
  return {
    /** Claims a dead letter for this redrive, so that nobody discards it meanwhile. */
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
     * Sends the dead letter to the topic that it came from: its key, its value and its headers, and
     * one more that says so. A repeat sends it once more.
     *
     * @throws KafkaUnavailableError a retry helps
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

    /** Marks a claimed dead letter as redriven. A repeat changes nothing. */
    async settleRedrive({ deadLetterId, attempt, by }: RedriveDeadLetter): Promise<void> {
      await pool.query({
        name: 'redrive-settle',
        // Why it was given up once stays on record.
        text: `
          UPDATE collector.dead_letters
          SET status = 'redriven', attempt = $2, redriving_since = NULL,
            resolved_at = now(), resolved_by = $3,
            note = CASE status WHEN 'discarded' THEN 'discarded before: ' || note END
          WHERE id = $1 AND attempt = $2 - 1`,
        values: [deadLetterId, attempt, by],
      });
    },

    /** Gives a claimed dead letter back as it was, with a note of why. A repeat changes nothing. */
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

    /** Gives a parked dead letter up, once: the first one's name and reason stay. */
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

/** Another run of the same attempt may have ended it; otherwise the dead letter was settled before. */
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
        `Kafka refuses the message for its size. Raise max.message.bytes of the topic ` +
        `${message.topic} and redrive it again, or discard it.`,
      nonRetryable: true,
      cause: error,
    });
  }
}
