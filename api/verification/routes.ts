/** Verifying the invariants between shop, log and metrics, for operators. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { LastVerifications, VerificationRun } from '../../operations/verification-runs';
import type { Services } from '../http/dependencies';
import { databaseProblems } from '../http/operation';
import { problemSchema } from '../http/problem';
import { verificationSchema } from './schemas';

/** `POST /verification`, `GET /verification`. */
export function verificationRoutes({ verificationRuns }: Services): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/verification',
      {
        config: {
          operation: {
            operationId: 'startVerification',
            tag: 'Pipeline',
            summary: 'Check whether all figures add up',
            description:
              'Compares shop, log and metrics in one snapshot, as `npm run ops -- verify` does, and blocks nobody. ' +
              'One runs at a time: whoever asks meanwhile shares it. It ends within half a minute; what is too ' +
              'large for that is told, and left to the command line. Poll the URL in Location for the outcome.',
            key: 'operator',
            problems: databaseProblems,
            headers: { 202: ['Location'] },
            example: { url: '/v1/verification' },
          },
        },
        schema: { response: { 202: verificationSchema, default: problemSchema } },
      },
      async ({ caller: { name: by }, log }, reply) => {
        const found = await verificationRuns.start(by);
        log.info({ by }, 'a verification is asked for');
        return reply.code(202).header('location', '/v1/verification').send(toAnswer(found));
      },
    );

    app.get(
      '/verification',
      {
        config: {
          operation: {
            operationId: 'readVerification',
            tag: 'Pipeline',
            summary: 'Read what the last verification found',
            description: 'Also one of the command line.',
            key: 'operator',
            problems: databaseProblems,
            example: { url: '/v1/verification' },
          },
        },
        schema: { response: { 200: verificationSchema, default: problemSchema } },
      },
      async () => toAnswer(await verificationRuns.read()),
    );
  };
}

function toAnswer({ running, last }: LastVerifications): z.input<typeof verificationSchema> {
  return {
    running:
      running === null ? null : { by: running.by, startedAt: running.startedAt.toISOString() },
    last: last === null ? null : toRun(last),
  };
}

function toRun({ startedAt, finishedAt, checks, ...run }: VerificationRun) {
  return {
    ...run,
    startedAt: startedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
    checks: checks.map(({ differences, ...check }) => ({
      ...check,
      differences: differences.map((difference) => ({ ...difference })),
    })),
  };
}
