/** Dead letters in answers. */
import { z } from 'zod';
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
