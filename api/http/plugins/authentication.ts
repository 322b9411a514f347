/**
 * Authentication: a Bearer secret identifies the API key, `X-User-Id` the acting user. Both are
 * checked before a body is read.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { aggregateIdSchema } from '../../../events/identifiers';
import type { ApiKey, Role } from '../../../platform/process/config';
import { invalidField, Problem } from '../problem';

/** The holder of an API key. */
export interface Caller {
  /** The key's name. */
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the secret; the secret itself is not kept. */
  readonly secretHash: Buffer;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The authenticated caller. */
    caller: Caller;
    /** The acting user, if the request names one. */
    userId: string | undefined;
  }
}

/** Rejects every request of its scope without a valid key, with 401. */
export const authentication = fastifyPlugin<{ keys: readonly ApiKey[] }>(async (app, { keys }) => {
  const callers = keys.map(toCaller);
  app.decorateRequest('caller');
  app.decorateRequest('userId');
  app.addHook('onRequest', (request, _, done) => {
    request.caller = authenticate(callers, request.headers.authorization);
    request.userId = readUserId(request);
    done();
  });
});

/** The header that names the acting user. */
export const userHeader = 'X-User-Id';

function toCaller({ name, role, secret }: ApiKey): Caller {
  return { name, role, secretHash: sha256(secret) };
}

function authenticate(callers: readonly Caller[], authorization: string | undefined): Caller {
  const secret = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (secret === undefined) {
    throw unauthenticated('The API key is missing. Send Authorization: Bearer <secret>.');
  }
  const caller = findCaller(callers, sha256(secret));
  if (caller === undefined) throw unauthenticated('Unknown API key.');
  return caller;
}

// Compares with all of them in constant time, so that timing reveals nothing.
function findCaller(callers: readonly Caller[], secretHash: Buffer): Caller | undefined {
  return callers.filter((caller) => timingSafeEqual(caller.secretHash, secretHash))[0];
}

function unauthenticated(detail: string): Problem {
  const headers = { 'www-authenticate': 'Bearer' };
  return new Problem('UNAUTHENTICATED', { detail, headers });
}

function readUserId({ headers }: FastifyRequest): string | undefined {
  const header = headers['x-user-id'];
  if (header === undefined) return undefined;
  const checked = aggregateIdSchema.safeParse(header);
  if (checked.success) return checked.data;
  throw invalidField(userHeader, checked.error.issues[0]?.message ?? 'is invalid');
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
