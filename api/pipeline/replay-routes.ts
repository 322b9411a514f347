/** Reading ranges of messages again, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { aggregateIdSchema } from '../../events/identifiers';
import { eventTopics } from '../../events/topics';
import { ReplayRefusedError, type ReplayPlan, type ReplayRequest } from '../../operations/replays';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { Problem, problemSchema } from '../http/problem';
import { replaySchema } from './schemas';

/** `POST /replays`. */
export function replayRoutes({ replays }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/replays',
      {
        config: {
          operation: {
            operationId: 'replayMessages',
            tag: 'Pipeline',
            summary: 'Have a range of messages read again',
            description:
              'Of a partition by offsets, of all topics by the time of the messages, or of an aggregate by its ' +
              "logged events. The consumer group's offsets do not move, and events that are handled change " +
              'nothing: `repeats` says how many these are. With `dryRun` nothing is requested. Bridges begin ' +
              'within some seconds; what an operator holds waits.',
            key: 'operator',
            problems: [
              ...databaseProblems,
              'KAFKA_UNAVAILABLE',
              'NOTHING_TO_REPLAY',
              'REPLAY_TOO_LARGE',
            ],
            example: {
              url: '/v1/replays',
              body: { aggregateId: '$PRODUCT', dryRun: true },
              after: 'MEASURED',
            },
          },
        },
        schema: {
          body: request,
          response: { 200: replaySchema, 202: replaySchema, default: problemSchema },
        },
      },
      async ({ body, caller: { name: by }, log }, reply) => {
        const plan = await planned(() => replays.plan(readForm(body)!));
        if (body.dryRun) return reply.code(200).send(toAnswer(plan, false));
        await replays.request(plan, by);
        log.warn({ ranges: plan.ranges, by }, 'a replay is requested');
        return reply.code(202).send(toAnswer(plan, true));
      },
    );
  };
}

const forms =
  'must name topic, partition, from and to; or since and until; or aggregateId, and nothing else';

const fields = z.strictObject({
  topic: z.enum(eventTopics).optional(),
  partition: z.int().min(0).max(100_000).optional(),
  from: z.int().min(0).optional().describe('the first offset'),
  to: z.int().min(0).optional().describe('the last offset'),
  since: z.iso.datetime({ offset: true }).optional().describe('by the timestamps of the messages'),
  until: z.iso.datetime({ offset: true }).optional().describe('exclusive'),
  aggregateId: aggregateIdSchema.optional().describe('all of its logged events'),
  dryRun: z.boolean().default(false).describe('whether only to say what would be read again'),
});

type Body = Omit<z.output<typeof fields>, 'dryRun'>;

const request = fields
  .refine((body) => readForm(body) !== undefined, { message: forms })
  .refine(({ from = 0, to = from }) => from <= to, {
    path: ['to'],
    message: 'must not be below from',
  })
  .refine(({ since, until }) => !since || !until || Date.parse(since) < Date.parse(until), {
    path: ['until'],
    message: 'must be later than since',
  });

/** The one form that is given whole; undefined otherwise. */
function readForm(body: Body): ReplayRequest | undefined {
  const { topic, partition, from, to, since, until, aggregateId } = body;
  const given = Object.entries(body).filter(
    ([name, value]) => name !== 'dryRun' && value !== undefined,
  );
  if (topic !== undefined && partition !== undefined && from !== undefined && to !== undefined) {
    return given.length === 4 ? { topic, partition, from, to } : undefined;
  }
  if (since !== undefined && until !== undefined) {
    return given.length === 2 ? { since: new Date(since), until: new Date(until) } : undefined;
  }
  return aggregateId !== undefined && given.length === 1 ? { aggregateId } : undefined;
}

async function planned(plan: () => Promise<ReplayPlan>): Promise<ReplayPlan> {
  try {
    return await plan();
  } catch (error) {
    if (error instanceof ReplayRefusedError) {
      const told = { detail: error.message, cause: error };
      if (error.code === 'EMPTY') throw new Problem('NOTHING_TO_REPLAY', told);
      throw new Problem('REPLAY_TOO_LARGE', told);
    }
    if (error instanceof Problem) throw error;
    throw new Problem('KAFKA_UNAVAILABLE', { cause: error });
  }
}

function toAnswer(
  { ranges, offsets, counted }: ReplayPlan,
  requested: boolean,
): z.input<typeof replaySchema> {
  return {
    requested,
    ranges: ranges.map(({ topic, partition, from, to }) => ({ topic, partition, from, to })),
    offsets,
    messages: counted?.messages ?? null,
    repeats: counted?.repeats ?? null,
  };
}
