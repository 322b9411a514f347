/** Dead letters by the number, for operators: groups, whether they would parse now, and commands for many. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { storableText } from '../../events/storable-text';
import { maxPerCommand, type MatchingOutcome } from '../../operations/dead-letters';
import type { Services } from '../http/dependencies';
import { commandProblems, databaseProblems } from '../http/operation';
import { Problem, problemSchema } from '../http/problem';
import { deadLetterFilter } from './filter';
import { toDiscardProblem, toRedriveProblem, unknownDeadLetter } from './outcomes';
import { deadLetterParams } from './routes';
import {
  checkedDeadLetter,
  checkReport,
  deadLetterGroups,
  deadLetterStatus,
  discardedMany,
  redrivenMany,
} from './schemas';

/**
 * `GET /dead-letters/groups`, `GET /dead-letters/check` and `…/{id}/check`, and
 * `POST /dead-letters/redrive` and `…/discard`.
 */
export function deadLetterTriageRoutes({ deadLetters }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/dead-letters/groups',
      {
        config: {
          operation: {
            operationId: 'groupDeadLetters',
            tag: 'Dead letters',
            summary: 'Group the dead letters by reason, topic and producer',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/dead-letters/groups?status=parked' },
          },
        },
        schema: {
          querystring: groupQuery,
          response: { 200: deadLetterGroups, default: problemSchema },
        },
      },
      async ({ query }) => {
        const { groups, ...counts } = await deadLetters.groups(query);
        return { ...counts, items: [...groups] };
      },
    );

    app.get(
      '/dead-letters/check',
      {
        config: {
          operation: {
            operationId: 'checkDeadLetters',
            tag: 'Dead letters',
            summary: 'Find out how many dead letters the bridge would accept now',
            description: `Writes nothing. Reads the ${maxPerCommand} oldest that match.`,
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/dead-letters/check?status=parked&reason=UNKNOWN_TYPE' },
          },
        },
        schema: { querystring: groupQuery, response: { 200: checkReport, default: problemSchema } },
      },
      async ({ query }) => {
        const { refusals, ...counts } = await deadLetters.checkMatching(query);
        return { ...counts, refusals: [...refusals] };
      },
    );

    app.get(
      '/dead-letters/:id/check',
      {
        config: {
          operation: {
            operationId: 'checkDeadLetter',
            tag: 'Dead letters',
            summary: 'Find out whether the bridge would accept a dead letter now',
            description: 'Writes nothing.',
            key: 'operator',
            problems: [...databaseProblems, 'DEAD_LETTER_NOT_FOUND'],
            example: { url: '/v1/dead-letters/$DEAD_LETTER/check', after: 'DEAD_LETTER' },
          },
        },
        schema: {
          params: deadLetterParams,
          response: { 200: checkedDeadLetter, default: problemSchema },
        },
      },
      async ({ params: { id } }) => {
        const [checked] = await deadLetters.check([id]);
        if (checked === undefined) throw unknownDeadLetter(id);
        return checked;
      },
    );

    app.post(
      '/dead-letters/redrive',
      {
        config: {
          operation: {
            operationId: 'redriveDeadLetters',
            tag: 'Dead letters',
            summary: 'Redrive all parked dead letters that match a filter',
            description: howManyAtOnce,
            key: 'operator',
            problems: manyProblems,
            example: {
              url: '/v1/dead-letters/redrive',
              body: { filter: { reason: 'UNKNOWN_TYPE' }, expected: 0 },
            },
          },
        },
        schema: { body: redriveMany, response: { 200: redrivenMany, default: problemSchema } },
      },
      async ({ body: { filter, expected }, caller: { name: by } }) => {
        const { report, ...counts } = asExpected(
          expected,
          await deadLetters.redriveMatching(filter, expected, { by }),
        );
        const failed = report.failed.map(({ deadLetterId: id, outcome }) =>
          toFailure(id, toRedriveProblem(id, outcome)),
        );
        return { ...counts, ...report, failed };
      },
    );

    app.post(
      '/dead-letters/discard',
      {
        config: {
          operation: {
            operationId: 'discardDeadLetters',
            tag: 'Dead letters',
            summary: 'Discard all parked dead letters that match a filter',
            description: howManyAtOnce,
            key: 'operator',
            problems: manyProblems,
            example: {
              url: '/v1/dead-letters/discard',
              body: { filter: { reason: 'NOT_JSON' }, expected: 0, reason: 'test messages' },
            },
          },
        },
        schema: { body: discardMany, response: { 200: discardedMany, default: problemSchema } },
      },
      async ({ body: { filter, expected, reason }, caller: { name: by } }) => {
        const { report, ...counts } = asExpected(
          expected,
          await deadLetters.discardMatching(filter, expected, { by, reason }),
        );
        const failed = report.failed.map(({ deadLetterId: id, outcome }) =>
          toFailure(id, toDiscardProblem(id, outcome)),
        );
        return { ...counts, ...report, failed };
      },
    );
  };
}

const howManyAtOnce =
  `Takes at most ${maxPerCommand} at once; \`left\` says how many are left. \`expected\` is what the ` +
  'groups say: if another number is parked by now, nothing is changed.';

const manyProblems = [...databaseProblems, ...commandProblems, 'COUNT_DIFFERS'] as const;

const groupQuery = deadLetterFilter.extend({ status: deadLetterStatus.optional() });

const expected = z.int().min(0).describe('how many parked dead letters match, as far as is known');

const redriveMany = z.strictObject({ filter: deadLetterFilter, expected });

const discardMany = redriveMany.extend({ reason: storableText(500) });

function asExpected<Report>(
  count: number,
  outcome: MatchingOutcome<Report>,
): { matched: number; left: number; report: Report } {
  if (outcome.kind === 'done') {
    const { kind: _, ...done } = outcome;
    return done;
  }
  throw new Problem('COUNT_DIFFERS', {
    detail: `${outcome.matched} parked dead letters match, not ${count}; nothing was changed.`,
  });
}

function toFailure(id: number, { code, detail }: Problem) {
  return { id, code, detail };
}
