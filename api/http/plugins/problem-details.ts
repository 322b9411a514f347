/** Every error becomes an `application/problem+json` answer without internals. */
import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { OverloadedError } from '../overload';
import { Problem, problemJson, problemMediaType } from '../problem';

/** Answers errors and unknown routes. To be registered before any route. */
export const problemDetails = fastifyPlugin(async (app) => {
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((request) => {
    const detail = `No such route: ${request.method} ${pathOf(request)}. See /docs.`;
    throw new Problem('NOT_FOUND', { detail });
  });
});

/** Answers an error, and logs 5xx. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = toProblem(error);
  if (problem.status >= 500) logFailure(problem, error, request);
  return reply.send(applyProblem(problem, request, reply));
}

/** Sets status and headers of a problem on the reply, and returns the body. */
export function applyProblem(
  problem: Problem,
  request: FastifyRequest,
  reply: FastifyReply,
): string {
  reply.code(problem.status).headers(problem.headers).header('content-type', problemMediaType);
  return problemJson(problem, problem.status >= 500 ? request.id : undefined);
}

/** Answers invalid or too slow HTTP, for which there is no request. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const body = problemJson(clientProblem(error.code));
  const { status, title } = JSON.parse(body) as { status: number; title: string };
  socket.end(
    [
      `HTTP/1.1 ${status} ${title}`,
      `Content-Type: ${problemMediaType}`,
      `Content-Length: ${Buffer.byteLength(body)}`,
      'X-Content-Type-Options: nosniff',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}

function clientProblem(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('HEADERS_TOO_LARGE');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('REQUEST_TIMEOUT');
    default:
      return new Problem('BAD_REQUEST', { detail: 'The request is not valid HTTP.' });
  }
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { statusCode = 500, message } = error as FastifyError;
  if (statusCode === 413) return new Problem('BODY_TOO_LARGE');
  if (statusCode === 415) return new Problem('UNSUPPORTED_MEDIA_TYPE');
  if (statusCode >= 400 && statusCode < 500) return malformed(statusCode, error as Error, message);
  return new Problem('INTERNAL_ERROR');
}

// Rejected by Fastify: a body that is not JSON, a URL that cannot be decoded.
function malformed(statusCode: number, cause: Error, message: string): Problem {
  const { code } = cause as FastifyError;
  if (code === 'FST_ERR_CTP_INVALID_JSON_BODY') {
    return new Problem('INVALID_BODY', {
      errors: [{ field: 'body', message: 'is not valid JSON' }],
      cause,
    });
  }
  const options = { status: statusCode, detail: message, cause };
  if (!/_(CTP|BODY)_/.test(code)) return new Problem('BAD_REQUEST', options);
  return new Problem('INVALID_BODY', { ...options, errors: [{ field: 'body', message }] });
}

function logFailure(problem: Problem, error: unknown, request: FastifyRequest): void {
  // The request log has it; a second line would add to the load.
  if (error instanceof OverloadedError) return;
  // The lost connection has logged the outage; each request of it only warns.
  const level = problem.status === 503 ? 'warn' : 'error';
  request.log[level]({ err: error, code: problem.code, route: pathOf(request) }, 'request failed');
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0] ?? request.url;
}
