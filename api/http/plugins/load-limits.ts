/**
 * Rate limit per API key, and a limit of concurrent changes, some of whose places are the operators' alone.
 * Excess requests are rejected before any work, with 429 or 503 and `Retry-After`.
 */
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { Role } from '../../../platform/process/config';
import type { ChangePlaces } from '../change-places';
import { OverloadedError } from '../overload';
import { Problem } from '../problem';

/** The limits. */
export interface LoadLimits {
  /** Most reads of one key in a second. */
  readonly readsPerSecond: number;
  /** Most changes of one key in a second. */
  readonly changesPerSecond: number;
  /** For changes under way, of all keys together. */
  readonly places: Pick<ChangePlaces, 'count' | 'keptForOperators'>;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the request holds a slot for changes. */
    takesPlace: boolean;
  }
}

/** Holds every request of its scope to the limits. Needs `authentication` and `idempotency` before it. */
export const loadLimits = fastifyPlugin<LoadLimits>(async (app, limits) => {
  await limitRates(app, limits);
  limitChangesUnderWay(app, limits);
});

async function limitRates(
  app: FastifyInstance,
  { readsPerSecond, changesPerSecond }: LoadLimits,
): Promise<void> {
  await app.register(rateLimit, { global: false });
  const perKey = {
    timeWindow: 1_000,
    keyGenerator: ({ caller }: FastifyRequest) => caller.secretHash.toString('hex'),
  };
  const countRead = app.createRateLimit({ ...perKey, max: readsPerSecond });
  const countChange = app.createRateLimit({ ...perKey, max: changesPerSecond });
  app.addHook('onRequest', async (request) => {
    const count = await (isRead(request) ? countRead : countChange)(request);
    if (!count.isAllowed && count.isExceeded) throw tooManyRequests(count.ttlInSeconds);
  });
}

function tooManyRequests(seconds: number): Problem {
  const headers = { 'retry-after': String(Math.max(seconds, 1)) };
  return new Problem('TOO_MANY_REQUESTS', { headers });
}

// A slot is taken once the body has arrived, so that a slow sender holds none, and released when the
// answer is written, not when the connection ends: the work of a client that has hung up continues
// until its answer is recorded.
function limitChangesUnderWay(app: FastifyInstance, { places }: LoadLimits): void {
  const underWay = { shopper: 0, operator: 0 };
  const isFree = (role: Role): boolean => {
    const { shopper, operator } = underWay;
    const { count, keptForOperators } = places;
    if (role === 'shopper') {
      const taken = shopper + Math.max(operator - keptForOperators, 0);
      return taken < count - Math.floor(count / 8);
    }
    // A rush of shoppers must not keep out who could end it: by more stock, or another price.
    return operator < keptForOperators || shopper + operator < count;
  };
  app.decorateRequest('takesPlace', false);
  app.addHook('preValidation', (request, _, done) => {
    if (isRead(request)) return done();
    const { role } = request.caller;
    if (!isFree(role)) return done(new OverloadedError());
    underWay[role] += 1;
    request.takesPlace = true;
    done();
  });
  app.addHook('onSend', (request: FastifyRequest, _: FastifyReply, payload, done) => {
    if (request.takesPlace) underWay[request.caller.role] -= 1;
    request.takesPlace = false;
    done(null, payload);
  });
}

function isRead({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}
