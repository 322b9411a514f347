/** Dead letters, for operators: list, inspect, redrive, discard. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { DiscardOutcome, RedriveOutcome } from '../../events/redrive';
import { storableText } from '../../events/storable-text';
import type { DeadLetter } from '../../operations/dead-letters';
import type { Services } from '../http/dependencies';
import { commandProblems, databaseProblems } from '../http/operation';
import { pageOrder, pageQuery, readPage } from '../http/pages';
import { problemSchema } from '../http/problem';
import { deadLetterFilter } from './filter';
import { orUndecided, toDiscardProblem, toRedriveProblem, unknownDeadLetter } from './outcomes';
import {
  deadLetterPage,
  deadLetterStatus,
  deadLetterWithMessage,
  discarded,
  redriven,
} from './schemas';

/** `GET /dead-letters`, `GET /dead-letters/{id}`, and `POST …/redrive` and `…/discard`. */
export function deadLetterRoutes({ deadLetters }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/dead-letters',
      {
        config: {
          operation: {
            operationId: 'listDeadLetters',
            tag: 'Dead letters',
            summary: 'List dead letters',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/dead-letters?status=parked' },
          },
        },
        schema: {
          querystring: listQuery,
          response: { 200: deadLetterPage, default: problemSchema },
        },
      },
      async ({ query: { limit, cursor, ...filter } }) =>
        readPage({ limit, cursor }, byId, async (page) => {
          const after = page.after && Number(page.after[0]);
          return (await deadLetters.list(filter, { limit: page.limit, after })).deadLetters;
        }),
    );

    app.get(
      '/dead-letters/:id',
      {
        config: {
          operation: {
            operationId: 'findDeadLetter',
            tag: 'Dead letters',
            summary: 'Get a dead letter with its message',
            key: 'operator',
            problems: [...databaseProblems, 'DEAD_LETTER_NOT_FOUND'],
            example: { url: '/v1/dead-letters/$DEAD_LETTER', after: 'DEAD_LETTER' },
          },
        },
        schema: {
          params: deadLetterParams,
          response: { 200: deadLetterWithMessage, default: problemSchema },
        },
      },
      async ({ params: { id } }) => {
        const found = await deadLetters.find(id);
        if (found === undefined) throw unknownDeadLetter(id);
        return { ...found, headers: found.headers.map((header) => ({ ...header })) };
      },
    );

    app.post(
      '/dead-letters/:id/redrive',
      {
        config: {
          operation: {
            operationId: 'redriveDeadLetter',
            tag: 'Dead letters',
            summary: 'Redrive a dead letter: send it back to its topic',
            description: 'A message that fails again is parked as a new dead letter.',
            key: 'operator',
            problems: [...settleProblems, 'REDRIVE_REFUSED', 'UNREADABLE'],
            example: {
              url: '/v1/dead-letters/$DEAD_LETTER/redrive',
              body: { again: false },
              after: 'DEAD_LETTER',
            },
          },
        },
        schema: {
          params: deadLetterParams,
          body: redrive,
          response: { 200: redriven, default: problemSchema },
        },
      },
      async ({ params: { id }, body, caller }) => {
        const options = { by: caller.name, again: body?.again ?? false };
        return toRedriven(id, await orUndecided(() => deadLetters.redrive(id, options)));
      },
    );

    app.post(
      '/dead-letters/:id/discard',
      {
        config: {
          operation: {
            operationId: 'discardDeadLetter',
            tag: 'Dead letters',
            summary: 'Discard a dead letter',
            key: 'operator',
            problems: [...settleProblems, 'REDRIVE_UNDER_WAY'],
            example: {
              url: '/v1/dead-letters/$DEAD_LETTER/discard',
              body: { reason: 'a test message' },
              after: 'DEAD_LETTER',
            },
          },
        },
        schema: {
          params: deadLetterParams,
          body: discard,
          response: { 200: discarded, default: problemSchema },
        },
      },
      async ({ params: { id }, body: { reason }, caller }) => {
        const options = { by: caller.name, reason };
        return toDiscarded(id, await orUndecided(() => deadLetters.discard(id, options)));
      },
    );
  };
}

const settleProblems = [
  ...databaseProblems,
  ...commandProblems,
  'DEAD_LETTER_NOT_FOUND',
  'DEAD_LETTER_SETTLED',
] as const;

const idText = z.string().regex(/^[1-9]\d{0,14}$/, 'must be the ID of a dead letter');

/** The path of a route of one dead letter. */
export const deadLetterParams = z.strictObject({ id: idText.transform(Number) });

const listQuery = deadLetterFilter.extend({
  status: deadLetterStatus.optional(),
  ...pageQuery.shape,
});

const byId = pageOrder([idText], ({ id }: DeadLetter) => [String(id)]);

const redrive = z
  .strictObject({
    again: z
      .boolean()
      .optional()
      .describe('redrive it even if it was already redriven or discarded'),
  })
  .nullish();

const discard = z.strictObject({ reason: storableText(500) });

function toRedriven(id: number, outcome: RedriveOutcome): z.output<typeof redriven> {
  if (outcome.kind === 'redriven') {
    return { id, status: 'redriven', sentTo: outcome.sentTo ?? null };
  }
  // Asking twice is asking once.
  if (outcome.kind === 'settled' && outcome.status === 'redriven') {
    return { id, status: 'redriven', sentTo: null };
  }
  throw toRedriveProblem(id, outcome);
}

function toDiscarded(id: number, outcome: DiscardOutcome): z.output<typeof discarded> {
  if (outcome.kind === 'discarded') return { id, status: 'discarded' };
  throw toDiscardProblem(id, outcome);
}
