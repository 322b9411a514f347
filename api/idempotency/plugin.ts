/**
 * `Idempotency-Key`, on every POST: the same request again gets the first answer again, byte for
 * byte. The key is claimed right before the handler runs, so what fails on authentication, size or
 * schema claims none, and it is answered for by the first answer that decides something: neither a
 * 5xx or 429, nor a 202, which says that the outcome is still to come. After those the same request can
 * be sent again, works under the same IDs, and gets the outcome.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { v5 as uuidV5 } from 'uuid';
import { idempotencyKeys } from '../../platform/observability/telemetry';
import { canonicalJson } from './canonical-json';
import type { Claim, IdempotencyStore, RecordedAnswer } from './store';
import { invalidField, Problem } from '../http/problem';
import { applyProblem } from '../http/plugins/problem-details';

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * An ID for what the request makes: the same for every try of a request with an
     * Idempotency-Key, so that a retry finds what an earlier try has begun; otherwise drawn.
     *
     * @param purpose distinguishes several IDs of one request
     */
    deriveId(purpose: string): string;
    /**
     * Whether an earlier try with the same Idempotency-Key came this far: what has those IDs may be there
     * already, or may have been there and been lost.
     */
    isRepeat: boolean;
    /** The claim that the answer is to be recorded under. */
    idempotencyClaim: Claim | undefined;
  }
}

/** Holds every POST of its scope to its Idempotency-Key. Needs `authentication` before it. */
export const idempotency = fastifyPlugin<{ store: IdempotencyStore }>(async (app, { store }) => {
  app.decorateRequest('idempotencyClaim');
  app.decorateRequest('isRepeat', false);
  app.decorateRequest('deriveId', function (this: FastifyRequest, purpose: string) {
    return this.idempotencyClaim === undefined
      ? randomUUID()
      : deriveId(this.idempotencyClaim, purpose);
  });
  app.addHook('onRoute', (route) => {
    if (![route.method].flat().includes('POST')) return;
    route.preHandler = [claimKey, ...[route.preHandler ?? []].flat()];
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const held = request.idempotencyClaim;
    if (held === undefined) return payload;
    request.idempotencyClaim = undefined;
    if (decidesSomething(reply)) return record(store, held, request, reply, payload);
    await release(store, held, request);
    return payload;
  });

  async function claimKey(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const key = readKey(request);
    if (key !== undefined) await claim(store, key, request, reply);
  }
});

function decidesSomething({ statusCode }: FastifyReply): boolean {
  return statusCode < 500 && statusCode !== 202 && statusCode !== 429;
}

const keyHeader = 'Idempotency-Key';

function readKey({ headers, raw }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  // Node.js makes one value of several lines, which would be a third key.
  const lines = raw.rawHeaders.filter((text, at) => at % 2 === 0 && isKeyHeader(text));
  if (lines.length > 1) throw invalidField(keyHeader, 'must be given once');
  if (typeof key === 'string' && /^[\x20-\x7e]{1,255}$/.test(key)) return key;
  throw invalidField(keyHeader, 'must be 1 to 255 printable ASCII characters');
}

function isKeyHeader(name: string): boolean {
  return name.toLowerCase() === keyHeader.toLowerCase();
}

async function claim(
  store: IdempotencyStore,
  key: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const outcome = await store.claim(scopeOf(request, key), sha256(canonicalJson(request.body)));
  idempotencyKeys.inc({ outcome: countedOutcomes[outcome.kind] });
  switch (outcome.kind) {
    case 'claimed':
      request.idempotencyClaim = outcome.claim;
      request.isRepeat = outcome.claim.isRepeat;
      return undefined;
    case 'answered':
      return replay(reply, outcome.answer);
    case 'under-way':
      throw underWay();
    case 'other-request':
      throw new Problem('IDEMPOTENCY_KEY_REUSED');
  }
}

const countedOutcomes = {
  claimed: 'claimed',
  answered: 'replayed',
  'under-way': 'under_way',
  'other-request': 'other_request',
} as const;

// By the route's pattern and parameters: two spellings of one URL are one route.
function scopeOf({ caller, userId, method, routeOptions, params }: FastifyRequest, key: string) {
  const owner = caller.secretHash.toString('hex');
  return sha256(canonicalJson([owner, userId ?? null, method, routeOptions.url, params, key]));
}

function replay(reply: FastifyReply, { status, headers, body }: RecordedAnswer): FastifyReply {
  return reply.code(status).headers(headers).header('idempotency-replayed', 'true').send(body);
}

function underWay(): Problem {
  return new Problem('REQUEST_UNDER_WAY');
}

const recordedHeaders = ['content-type', 'location', 'retry-after'] as const;

// Recorded before it is sent, so that an answer a client has seen never changes.
async function record(
  store: IdempotencyStore,
  held: Claim,
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): Promise<unknown> {
  const problem = await store.complete(held, answerOf(reply, payload)).then(
    (recorded) => (recorded ? undefined : underWay()),
    (error: unknown) => unrecorded(error, request),
  );
  if (problem === undefined) return payload;
  reply.removeHeader('location');
  return applyProblem(problem, request, reply);
}

function answerOf(reply: FastifyReply, payload: unknown): RecordedAnswer {
  const headers = recordedHeaders.flatMap((name) => {
    const value = reply.getHeader(name);
    return value === undefined ? [] : [[name, String(value)] as const];
  });
  return {
    status: reply.statusCode,
    headers: Object.fromEntries(headers),
    body: typeof payload === 'string' ? payload : '',
  };
}

function unrecorded(error: unknown, request: FastifyRequest): Problem {
  request.log.warn({ err: error }, 'recording the answer of an Idempotency-Key failed');
  return new Problem('UNDECIDED', {
    detail:
      'The outcome could not be recorded. Retry the same request with the same Idempotency-Key to ' +
      'get it.',
    // When the lease of the claim has ended.
    headers: { 'retry-after': '20' },
  });
}

async function release(
  store: IdempotencyStore,
  held: Claim,
  request: FastifyRequest,
): Promise<void> {
  await store.release(held).catch((error: unknown) => {
    request.log.warn({ err: error }, 'releasing an Idempotency-Key failed; its lease will expire');
  });
}

// Never change it: a retry after a deploy must derive the same IDs.
const idNamespace = '0f6f7c5e-8f44-4a3b-9a53-0f1b6a2d9c84';

function deriveId({ scope, seed }: Claim, purpose: string): string {
  return uuidV5(JSON.stringify([scope.toString('hex'), seed, purpose]), idNamespace);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
