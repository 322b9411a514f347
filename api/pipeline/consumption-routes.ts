/** Holding and bounding consumption, for operators. Every change is logged and kept with who did it and why. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { describeScope, type ConsumptionScope } from '../../events/consumption-scope';
import { storableText } from '../../events/storable-text';
import { eventTopics } from '../../events/topics';
import type { Consumption } from '../../operations/consumption';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { Problem, problemSchema } from '../http/problem';
import { consumptionSchema } from './schemas';

/** `GET /pipeline`, and `POST /pipeline/pause`, `…/resume` and `…/throttle`. */
export function consumptionRoutes({ consumption }: Services): FastifyPluginAsyncZod {
  const readAnswer = async () => toAnswer(await consumption.read());
  const response = { 200: consumptionSchema, default: problemSchema };
  return async (app) => {
    app.get(
      '/pipeline',
      {
        config: {
          operation: {
            operationId: 'readConsumption',
            tag: 'Pipeline',
            summary: 'Read what of the consumption is held or bounded, by whom and why',
            description: 'Bridges follow within some seconds.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/pipeline' },
          },
        },
        schema: { response },
      },
      readAnswer,
    );

    app.post(
      '/pipeline/pause',
      {
        config: {
          operation: {
            operationId: 'pauseConsumption',
            tag: 'Pipeline',
            summary: 'Hold consumption of everything, a topic or a partition',
            description:
              'For every bridge, until it is resumed, also after a restart. Bridges follow within some seconds; ' +
              'what they have taken is handled. Nothing is lost: messages wait in Kafka, as long as it keeps them.',
            key: 'operator',
            problems: [...databaseProblems, 'CONSUMPTION_HELD'],
            example: {
              url: '/v1/pipeline/pause',
              body: { topic: 'order-events', partition: 5, reason: 'looking into a message' },
            },
          },
        },
        schema: { body: scoped, response },
      },
      async ({ body: { reason, ...named }, caller: { name: by }, log }) => {
        const scope = toScope(named);
        if (!(await consumption.pause(scope, { by, reason }))) {
          throw new Problem('CONSUMPTION_HELD', {
            detail: `Consumption of ${describeScope(scope)} is held already; nothing was changed.`,
          });
        }
        log.warn({ ...scope, by, reason }, 'consumption is held');
        return readAnswer();
      },
    );

    app.post(
      '/pipeline/resume',
      {
        config: {
          operation: {
            operationId: 'resumeConsumption',
            tag: 'Pipeline',
            summary: 'End a hold',
            description:
              'Of exactly what it names: without a topic, the hold of everything. What else is held stays held.',
            key: 'operator',
            problems: [...databaseProblems, 'CONSUMPTION_NOT_HELD'],
            example: {
              url: '/v1/pipeline/resume',
              body: { topic: 'order-events', partition: 5, reason: 'looked into' },
            },
          },
        },
        schema: { body: scoped, response },
      },
      async ({ body: { reason, ...named }, caller: { name: by }, log }) => {
        const scope = toScope(named);
        if (!(await consumption.resume(scope, { by, reason }))) {
          throw new Problem('CONSUMPTION_NOT_HELD', {
            detail: `Consumption of ${describeScope(scope)} is not held as such; nothing was changed.`,
          });
        }
        log.warn({ ...scope, by, reason }, 'consumption is resumed');
        return readAnswer();
      },
    );

    app.post(
      '/pipeline/throttle',
      {
        config: {
          operation: {
            operationId: 'throttleConsumption',
            tag: 'Pipeline',
            summary: 'Bound the rate at which all bridges together consume everything or a topic',
            description:
              'In place of the bound of exactly what it names; that of a topic and that of everything both hold. ' +
              'Each running bridge takes an equal part, so that they consume no more, and less where the partitions ' +
              'with messages belong to a few of them. For some seconds after a bridge starts, it may be more.',
            key: 'operator',
            problems: databaseProblems,
            example: {
              url: '/v1/pipeline/throttle',
              body: {
                topic: 'catalog-events',
                messagesPerSecond: null,
                reason: 'the database has caught up',
              },
            },
          },
        },
        schema: { body: throttle, response },
      },
      async ({ body: { topic = null, messagesPerSecond, reason }, caller: { name: by }, log }) => {
        const bound = { topic, messagesPerSecond };
        await consumption.throttle(bound, { by, reason });
        log.warn({ ...bound, by, reason }, 'the rate of consumption is bounded anew');
        return readAnswer();
      },
    );
  };
}

const reason = storableText(500).describe('why; shown to everybody who looks at the system');

const scoped = z
  .strictObject({
    topic: z.enum(eventTopics).optional().describe('without it: everything'),
    partition: z.int().min(0).max(100_000).optional().describe('without it: all of the topic'),
    reason,
  })
  .refine(({ topic, partition }) => topic !== undefined || partition === undefined, {
    path: ['topic'],
    message: 'is required with a partition',
  });

const throttle = z.strictObject({
  topic: z.enum(eventTopics).optional().describe('without it: everything'),
  messagesPerSecond: z.int().min(1).max(1_000_000).nullable().describe('null: no bound'),
  reason,
});

type Scoped = z.output<typeof scoped>;

function toScope({ topic, partition }: Pick<Scoped, 'topic' | 'partition'>): ConsumptionScope {
  return { topic: topic ?? null, partition: partition ?? null };
}

function toAnswer({ holds, limit, topicLimits }: Consumption): z.input<typeof consumptionSchema> {
  return { holds: [...holds], limit, topicLimits: [...topicLimits] };
}
