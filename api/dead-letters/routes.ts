/** Dead letters, for operators: seeing them, sending them back, giving them up. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { DiscardOutcome, RedriveOutcome } from '../../events/redrive';
import { DeadLetterCommandPendingError } from '../../operations/dead-letters';
import { UndecidedError } from '../commands/temporal-commands';
import { readCursor, writeCursor } from '../http/cursor';
import type { Services } from '../http/dependencies';
import { pageLimitSchema, storableText } from '../http/input';
import { requireRole } from '../http/plugins/authentication';
import { Problem, problemSchema } from '../http/problem';

/** `GET /dead-letters`, `GET /dead-letters/{id}`, and `POST …/redrive` and `…/discard`. */
export function deadLetterRoutes({ deadLetters }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.addHook('onRequest', requireRole('operator'));

    app.get(
      '/dead-letters',
      { schema: { querystring: listQuery, response: { 200: list, default: problemSchema } } },
      async ({ query: { cursor, limit, ...filter } }) => {
        const after =
          cursor === undefined ? undefined : Number(readCursor(cursor, [idText], 'cursor')[0]);
        const found = await deadLetters.list(filter, { limit, after });
        const nextCursor = found.next === undefined ? null : writeCursor([String(found.next)]);
        return { items: [...found.deadLetters], nextCursor };
      },
    );

    app.get(
      '/dead-letters/:id',
      {
        schema: { params, response: { 200: deadLetterWithMessage, default: problemSchema } },
      },
      async ({ params: { id } }) => {
        const found = await deadLetters.find(id);
        if (found === undefined) throw unknownDeadLetter(id);
        return { ...found, headers: found.headers.map((header) => ({ ...header })) };
      },
    );

    app.post(
      '/dead-letters/:id/redrive',
      { schema: { params, body: redrive, response: { 200: redriven, default: problemSchema } } },
      async ({ params: { id }, body, caller }) => {
        const options = { by: caller.name, again: body?.again ?? false };
        return toRedriven(id, await orUndecided(() => deadLetters.redrive(id, options)));
      },
    );

    app.post(
      '/dead-letters/:id/discard',
      { schema: { params, body: discard, response: { 200: discarded, default: problemSchema } } },
      async ({ params: { id }, body: { reason }, caller }) => {
        const options = { by: caller.name, reason };
        return toDiscarded(id, await orUndecided(() => deadLetters.discard(id, options)));
      },
    );
  };
}

const idText = z.string().regex(/^[1-9]\d{0,14}$/, 'must be the ID of a dead letter');

const params = z.strictObject({ id: idText.transform(Number) });

const status = z.enum(['parked', 'redriven', 'discarded']);

const listQuery = z.strictObject({
  status: status.optional(),
  reason: storableText(100).optional().describe('such as NOT_JSON'),
  topic: storableText(249).optional(),
  limit: pageLimitSchema,
  cursor: z.string().optional(),
});

const bytes = z
  .union([z.object({ text: z.string() }), z.object({ base64: z.string() })])
  .describe('as text where it is UTF-8 without NUL, otherwise as base64');

const deadLetter = z.object({
  id: z.int(),
  topic: z.string(),
  partition: z.int(),
  offset: z.int(),
  lastOffset: z
    .int()
    .nullable()
    .describe('where no message could be read: the last offset; it cannot be redriven'),
  key: bytes.nullable(),
  eventId: z.string().nullable(),
  reason: z.string(),
  detail: z.string(),
  status,
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

const deadLetterWithMessage = deadLetter.extend({
  value: bytes.nullable(),
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

const list = z.object({
  items: z.array(deadLetter).describe('the newest first'),
  nextCursor: z.string().nullable().describe('null on the last page'),
});

const redrive = z
  .strictObject({ again: z.boolean().optional().describe('also if it is settled already') })
  .nullish();

const discard = z.strictObject({ reason: storableText(500) });

const redriven = z.object({
  id: z.int(),
  status: z.literal('redriven'),
  sentTo: z
    .object({ topic: z.string(), partition: z.int(), offset: z.int() })
    .nullable()
    .describe('null when it was sent by another request'),
});

const discarded = z.object({ id: z.int(), status: z.literal('discarded') });

async function orUndecided<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DeadLetterCommandPendingError ? new UndecidedError(error) : error;
  }
}

function toRedriven(id: number, outcome: RedriveOutcome): z.infer<typeof redriven> {
  switch (outcome.kind) {
    case 'redriven':
      return { id, status: 'redriven', sentTo: outcome.sentTo ?? null };
    case 'unknown-dead-letter':
      throw unknownDeadLetter(id);
    case 'settled':
      // Asking twice is asking once.
      if (outcome.status === 'redriven') return { id, status: 'redriven', sentTo: null };
      throw settled(id, outcome.status);
    case 'unreadable':
      throw new Problem('UNREADABLE');
    case 'refused':
      throw new Problem('REDRIVE_REFUSED', { detail: `Nothing was sent: ${outcome.detail}` });
  }
}

function toDiscarded(id: number, outcome: DiscardOutcome): z.infer<typeof discarded> {
  switch (outcome.kind) {
    case 'discarded':
      return { id, status: 'discarded' };
    case 'unknown-dead-letter':
      throw unknownDeadLetter(id);
    case 'settled':
      throw settled(id, outcome.status);
    case 'redriving':
      throw new Problem('REDRIVE_UNDER_WAY');
  }
}

function settled(id: number, how: string): Problem {
  return new Problem('DEAD_LETTER_SETTLED', { detail: `Dead letter ${id} is already ${how}.` });
}

function unknownDeadLetter(id: number): Problem {
  return new Problem('DEAD_LETTER_NOT_FOUND', { detail: `There is no dead letter ${id}.` });
}
