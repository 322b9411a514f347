/** Bodies of requests: JSON in UTF-8, not compressed; or none, whatever the content type says. */
import { isUtf8 } from 'node:buffer';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { Problem } from '../problem';

/** Parses `application/json`, and answers any other content type with 415. */
export const jsonBodies = fastifyPlugin(async (app) => {
  app.removeAllContentTypeParsers();
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      // Clients name the type of what they do not send. The schema says whether a body is needed.
      if (body.length === 0) return done(null, undefined);
      const problem = problemWith(request, body);
      if (problem !== undefined) return done(problem);
      return void parseJson(request, body.toString(), done);
    },
  );
});

function problemWith({ headers }: FastifyRequest, body: Buffer): Problem | undefined {
  const coding = headers['content-encoding'] ?? 'identity';
  if (coding.toLowerCase() !== 'identity') return new Problem('UNSUPPORTED_CONTENT_ENCODING');
  if (isUtf8(body)) return undefined;
  const errors = [{ field: 'body', message: 'is not valid UTF-8' }];
  return new Problem('INVALID_BODY', { detail: 'The body is not valid UTF-8.', errors });
}
