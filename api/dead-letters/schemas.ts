/** Dead letters in answers. */
import { z } from 'zod';
import { maxGroups } from '../../operations/dead-letter-groups';
import { pageSchema } from '../http/page-schema';

/** Status of a dead letter. */
export const deadLetterStatus = z.enum(['parked', 'redriven', 'discarded']);

/** Bytes of a message. */
export const encodedBytes = z
  .union([z.object({ text: z.string() }), z.object({ base64: z.string() })])
  .describe('text when it is UTF-8 without NUL, base64 otherwise');

/** A dead letter without its message. */
export const deadLetterSchema = z.object({
  id: z.int(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  lastOffset: z
    .int()
    .nullable()
    .describe(
      'set when no message could be read: the last offset of the unreadable range; it cannot be redriven',
    ),
  key: encodedBytes.nullable(),
  eventId: z.string().nullable(),
  reason: z.string(),
  detail: z.string(),
  status: deadLetterStatus,
  tries: z.int().describe('how often handling the message was attempted'),
  redrivenFrom: z
    .int()
    .nullable()
    .describe('ID of the dead letter that this message was redriven from'),
  attempt: z.int().describe('number of finished redrives'),
  redrivingSince: z.string().nullable(),
  workflowId: z.string().describe('workflow that parked the message'),
  producedAt: z.string(),
  parkedAt: z.string(),
  resolvedAt: z.string().nullable(),
  resolvedBy: z.string().nullable(),
  note: z.string().nullable().describe('why it was discarded, or why a redrive failed'),
  copied: z.boolean().describe('whether the dead-letter topic has a copy'),
  copyError: z
    .string()
    .nullable()
    .describe('why the dead-letter topic rejects the copy permanently'),
  producer: z
    .string()
    .nullable()
    .describe('who sent it, as the message itself says; null where it does not'),
  outcome: z
    .enum(['handled', 'parked-again', 'waiting'])
    .nullable()
    .describe('what became of it once it was redriven; null where it was not'),
  parkedAgainAs: z
    .int()
    .nullable()
    .describe('ID of the dead letter that it became when it failed again, the latest'),
});

/** A dead letter with its message. */
export const deadLetterWithMessage = deadLetterSchema.extend({
  value: encodedBytes.nullable(),
  headers: z
    .array(
      z.object({
        name: z.string(),
        nameBase64: z.string().optional().describe('bytes of the name when they are not UTF-8'),
        text: z.string().optional(),
        base64: z.string().optional().describe('when the value is not UTF-8'),
        value: z.null().optional().describe('null for a header without a value'),
      }),
    )
    .describe('in order; a name may occur several times'),
});

/** A page of dead letters. */
export const deadLetterPage = pageSchema(deadLetterSchema, 'newest first');

/** A redriven dead letter. */
export const redriven = z.object({
  id: z.int(),
  status: z.literal('redriven'),
  sentTo: z
    .object({ topic: z.string(), partition: z.int(), offset: z.int() })
    .nullable()
    .describe('null when another request redrove it'),
});

/** A discarded dead letter. */
export const discarded = z.object({ id: z.int(), status: z.literal('discarded') });

/** Dead letters by reason, topic and producer. */
export const deadLetterGroups = z.object({
  count: z.int().describe('dead letters that match, also those of groups that are left out'),
  groupCount: z.int(),
  items: z
    .array(
      z.object({
        reason: z.string(),
        topic: z.string(),
        producer: z.string().nullable().describe('null where the messages name none'),
        count: z.int(),
        firstSeenAt: z.string().describe('when the first of them was parked'),
        lastSeenAt: z.string(),
      }),
    )
    .describe(`the largest first, at most ${maxGroups}`),
});

/** Whether the bridge would accept a dead letter's message now. */
export const checkedDeadLetter = z.union([
  z.object({ id: z.int(), parses: z.literal(true), eventId: z.string(), type: z.string() }),
  z.object({
    id: z.int(),
    parses: z.literal(false),
    reason: z.string().describe('why it would be parked again, such as NOT_JSON'),
    detail: z.string(),
  }),
]);

/** The same of many. */
export const checkReport = z.object({
  matched: z.int(),
  checked: z.int().describe('the oldest of them'),
  parses: z.int().describe('those that would be accepted'),
  refusals: z
    .array(
      z.object({
        reason: z.string(),
        count: z.int(),
        exampleId: z.int(),
        detail: z.string().describe('what is wrong with the example'),
      }),
    )
    .describe('what is wrong with the others, the most frequent first'),
});

const many = {
  matched: z.int().describe('those that were parked and matched'),
  left: z
    .int()
    .describe(
      'those of them that this command did not take, or did not see done in time: send another one',
    ),
  failed: z
    .array(z.object({ id: z.int(), code: z.string(), detail: z.string() }))
    .describe('those that it took and left as they were, with the code of a problem'),
};

/** Many redriven dead letters. */
export const redrivenMany = z.object({
  redriven: z.int(),
  redrivenBefore: z.int().describe('those that another request redrove meanwhile'),
  ...many,
});

/** Many discarded dead letters. */
export const discardedMany = z.object({ discarded: z.int(), ...many });
