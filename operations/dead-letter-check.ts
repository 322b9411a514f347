/**
 * Whether parked messages would be accepted now: read by the code by which the bridge reads a message.
 * Nothing is written. Whether an accepted event can be applied shows only once it is redriven.
 */
import { toRefusal } from '../events/errors';
import { parseMessage } from '../events/parse';
import type { Queryable } from '../platform/postgres/pool';

/** What the bridge would say of a dead letter's message now. */
export type CheckedDeadLetter =
  | { readonly id: number; readonly parses: true; readonly eventId: string; readonly type: string }
  | {
      readonly id: number;
      readonly parses: false;
      /** Code of what is wrong, such as `NOT_JSON`. */
      readonly reason: string;
      readonly detail: string;
    };

/** What the bridge would say of many. */
export interface CheckReport {
  /** Dead letters that match; those beyond `checked` were not looked at. */
  readonly matched: number;
  readonly checked: number;
  /** Those that would be accepted. */
  readonly parses: number;
  /** What is wrong with the others, the most frequent first. */
  readonly refusals: readonly {
    readonly reason: string;
    readonly count: number;
    /** One of them, and what is wrong with it. */
    readonly exampleId: number;
    readonly detail: string;
  }[];
}

/** A value may have a mebibyte: few are held at once. */
const readAtOnce = 20;

/** Checks dead letters, in the order of their IDs; those that do not exist are left out. */
export async function checkMessages(
  database: Queryable,
  deadLetterIds: readonly number[],
): Promise<CheckedDeadLetter[]> {
  const checked: CheckedDeadLetter[] = [];
  for (let start = 0; start < deadLetterIds.length; start += readAtOnce) {
    const { rows } = await database.query<MessageRow>({
      text: `
        SELECT id, topic, key, value, last_offset FROM collector.dead_letters
        WHERE id = ANY($1) ORDER BY id`,
      values: [deadLetterIds.slice(start, start + readAtOnce)],
    });
    checked.push(...rows.map(check));
  }
  return checked;
}

/** Counts what was found. @param matched how many there are */
export function summarize(matched: number, checked: readonly CheckedDeadLetter[]): CheckReport {
  const refusals = new Map<string, CheckReport['refusals'][number]>();
  for (const each of checked) {
    if (each.parses) continue;
    const { id: exampleId, reason, detail } = each;
    const { count } = refusals.get(reason) ?? { count: 0 };
    refusals.set(reason, { exampleId, reason, detail, ...refusals.get(reason), count: count + 1 });
  }
  return {
    matched,
    checked: checked.length,
    parses: checked.filter(({ parses }) => parses).length,
    refusals: [...refusals.values()].sort((a, b) => b.count - a.count),
  };
}

interface MessageRow {
  readonly id: number;
  readonly topic: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly last_offset: number | null;
}

function check({ id, last_offset, ...message }: MessageRow): CheckedDeadLetter {
  if (last_offset !== null) {
    const detail = 'No message could be read at its offsets, so there is none to be redriven.';
    return { id, parses: false, reason: 'UNREADABLE', detail };
  }
  try {
    const { id: eventId, type } = parseMessage(message);
    return { id, parses: true, eventId, type };
  } catch (error) {
    const { reason, detail } = toRefusal(error);
    return { id, parses: false, reason, detail };
  }
}
