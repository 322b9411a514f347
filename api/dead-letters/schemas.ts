/** Dead letters in answers. */
import { z } from 'zod';
import { pageSchema } from '../http/page-schema';

/** Where a dead letter stands. */
export const deadLetterStatus = z.enum(['parked', 'redriven', 'discarded']);

/** Bytes of a message. */
export const encodedBytes = z
  .union([z.object({ text: z.string() }), z.object({ base64: z.string() })])
  .describe('as text where it is UTF-8 without NUL, otherwise as base64');

/** A dead letter without its message. */
export const deadLetterSchema = z.object({
  id: z.int(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  lastOffset: z
    .int()
    .nullable()
    .describe('where no message could be read: the last offset; it cannot be redriven'),
  key: encodedBytes.nullable(),
  eventId: z.string().nullable(),
  reason: z.string(),
  detail: z.string(),
  status: deadLetterStatus,
  tries: z.int().describe('how often the message has been taken up'),
  redrivenFrom: z.int().nullable().describe('the dead letter that it was redriven from'),
  attempt: z.int().describe('redrives that have ended'),
  redrivingSince: z.string().nullable(),
  workflowId: z.string().describe('the workflow that parked it'),
  producedAt: z.string(),
  parkedAt: z.string(),
  resolvedAt: z.string().nullable(),
  resolvedBy: z.string().nullable(),
  note: z.string().nullable().describe('why it was discarded, or could not be sent back'),
  copied: z.boolean().describe('whether the dead-letter topic has a copy'),
  copyError: z.string().nullable().describe('why the dead-letter topic will never take a copy'),
});

/** A dead letter with its message. */
export const deadLetterWithMessage = deadLetterSchema.extend({
  value: encodedBytes.nullable(),
  headers: z
    .array(
      z.object({
        name: z.string(),
        nameBase64: z.string().optional().describe('the bytes of the name where they are no text'),
        text: z.string().optional(),
        base64: z.string().optional().describe('where the value is no text'),
        value: z.null().optional().describe('of a header without a value'),
      }),
    )
    .describe('in their order; a name may come several times'),
});

/** A page of dead letters. */
export const deadLetterPage = pageSchema(deadLetterSchema, 'the newest first');

/** A dead letter that was sent back to its topic. */
export const redriven = z.object({
  id: z.int(),
  status: z.literal('redriven'),
  sentTo: z
    .object({ topic: z.string(), partition: z.int(), offset: z.int() })
    .nullable()
    .describe('null when it was sent by another request'),
});

/** A dead letter that was given up. */
export const discarded = z.object({ id: z.int(), status: z.literal('discarded') });
