/**
 * The HTTP side of the payments simulator. Bodies and answers are JSON; amounts are whole numbers
 * in the currency's smallest unit, from 0 up (a gift costs 0).
 *
 * POST /v1/charges           header `Idempotency-Key`, body `{ amount, token, reference, currency? }`
 *                            (`currency` is `KRW` when absent)
 *   201 `{ chargeId, idempotencyKey, reference, amount, currency, status: "captured", createdAt }`
 *   402 `{ code, message }`  declined permanently: `declined`, `invalid_token` or `voided`
 *   409 `{ code, message }`  `in_progress`: a charge with this key is under way; ask again
 *   503 `{ code, message }`  retry with the same key
 * GET  /v1/charges           everything, for audits; `?idempotencyKey=` and `?reference=` narrow it,
 *                            for the lookup after a lost answer
 *   200 `{ charges, refunds, totals }`: charges as above with `refundedAmount`; totals are
 *       `{ chargeCount, capturedAmount, refundCount, refundedAmount, netAmount }` of what is listed.
 *       Only captured money is listed: an empty list says nothing about a request that is still
 *       under way. Void the key to be sure.
 * POST /v1/charges/void      body `{ idempotencyKey }`: from now on that key holds no money. What it
 *                            captured is refunded, and a charge by it that comes later, or is still
 *                            under way, is declined as `voided`. Voiding again changes nothing.
 *   200 `{ idempotencyKey, status: "voided", charges }`: what the key had captured, as listed above
 * GET  /healthz              200 `{ status: "ok" }`
 *
 * The same key with the same body gives the first answer again, but not after it was voided; with
 * another body 422 `idempotency_key_reused`. A request that breaks its schema is 400
 * `invalid_request` with `errors: [{ field, message }]`, and claims no key.
 *
 * Tokens
 *   `tok_approve`      captured at once
 *   `tok_decline`      402 `declined`
 *   `tok_slow`         captured after `PAYMENTS_SLOW_MS`, whether or not the caller still waits
 *   `tok_in_progress`  captured after `PAYMENTS_SLOW_MS`; until then every call is answered 409, the
 *                      first one, too
 *   `tok_lost_answer`  captured at once, but no call with that key is ever answered: the connection
 *                      is held open for `PAYMENTS_HOLD_MS` and then cut
 *   `tok_flaky`        503 on the first two calls of a key, then captured
 *   `tok_silent`       never captured, never answered: held open and cut
 *   anything else      402 `invalid_token`
 */
import type { Socket } from 'node:net';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import {
  hasZodFastifySchemaValidationErrors,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Configuration } from './configuration';
import { type Charge, type Ledger, RefusedRequestError } from './ledger';
import { type ChargeAnswer, Charging } from './tokens';

const maximumBodyBytes = 16 * 1024;

const idempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters without spaces');
const shortText = z.string().min(1).max(255);
const amount = z.int().nonnegative();

/** Not strict: other headers are ignored. */
const idempotencyHeaders = z.object({ 'idempotency-key': idempotencyKey });

const chargeBody = z.strictObject({
  amount,
  currency: z
    .string()
    .regex(/^[A-Z]{3}$/, 'must be three capital letters')
    .default('KRW'),
  token: shortText,
  reference: shortText,
});

const voidBody = z.strictObject({ idempotencyKey });
const chargeQuery = z.strictObject({
  idempotencyKey: idempotencyKey.optional(),
  reference: shortText.optional(),
});

/**
 * The server, not listening yet. Closing it cuts the held connections and drops pending slow
 * charges; the caller closes the ledger's journal.
 */
export function createServer(
  ledger: Ledger,
  { slowMs, holdMs }: Pick<Configuration, 'slowMs' | 'holdMs'>,
): FastifyInstance {
  const charging = new Charging(ledger, slowMs);
  const held = new HeldConnections(holdMs);
  const server = Fastify({ bodyLimit: maximumBodyBytes, forceCloseConnections: 'idle' });

  server.setValidatorCompiler(validatorCompiler);
  server.setErrorHandler(sendError);
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      code: 'not_found',
      message: `Not found: ${request.method} ${request.url}.`,
    }),
  );
  server.addHook('preClose', async () => {
    charging.stop();
    held.cut();
  });

  server.get('/healthz', () => ({ status: 'ok' }));
  addChargeRoutes(server, ledger, charging, held);
  return server;
}

function addChargeRoutes(
  server: FastifyInstance,
  ledger: Ledger,
  charging: Charging,
  held: HeldConnections,
): void {
  const routes = server.withTypeProvider<ZodTypeProvider>();

  routes.post(
    '/v1/charges',
    { schema: { headers: idempotencyHeaders, body: chargeBody } },
    async (request, reply) => {
      const answer = await charging.charge({
        ...request.body,
        idempotencyKey: request.headers['idempotency-key'],
      });
      return sendChargeAnswer(answer, reply, held);
    },
  );

  routes.get('/v1/charges', { schema: { querystring: chargeQuery } }, (request) =>
    listing(ledger, request.query),
  );

  routes.post('/v1/charges/void', { schema: { body: voidBody } }, (request) => {
    ledger.void(request.body.idempotencyKey);
    const { charges } = listing(ledger, request.body);
    return { idempotencyKey: request.body.idempotencyKey, status: 'voided', charges };
  });
}

function sendChargeAnswer(
  answer: ChargeAnswer,
  reply: FastifyReply,
  held: HeldConnections,
): FastifyReply {
  switch (answer.kind) {
    case 'captured':
      return answer.answerLost ? held.hold(reply) : reply.code(201).send(answer.charge);
    case 'declined':
      return reply.code(402).send(answer.decline);
    case 'unavailable':
      return reply.code(503).send({
        code: 'unavailable',
        message: 'The gateway is busy; retry with the same Idempotency-Key.',
      });
    case 'in-progress':
      return reply.code(409).send({
        code: 'in_progress',
        message: 'A charge with this Idempotency-Key is in progress; ask again.',
      });
    case 'silence':
      return held.hold(reply);
  }
}

function listing(ledger: Ledger, wanted: z.infer<typeof chargeQuery>) {
  const charges = ledger.charges
    .filter((charge) => isWanted(charge, wanted))
    .map((charge) => ({ ...charge, refundedAmount: ledger.refundedAmountOf(charge.chargeId) }));
  const chargeIds = new Set(charges.map(({ chargeId }) => chargeId));
  const refunds = ledger.refunds.filter(({ chargeId }) => chargeIds.has(chargeId));
  const capturedAmount = totalAmount(charges);
  const refundedAmount = totalAmount(refunds);
  return {
    charges,
    refunds,
    totals: {
      chargeCount: charges.length,
      capturedAmount,
      refundCount: refunds.length,
      refundedAmount,
      netAmount: capturedAmount - refundedAmount,
    },
  };
}

function isWanted(charge: Charge, wanted: z.infer<typeof chargeQuery>): boolean {
  return (
    (wanted.idempotencyKey ?? charge.idempotencyKey) === charge.idempotencyKey &&
    (wanted.reference ?? charge.reference) === charge.reference
  );
}

function totalAmount(entries: readonly { amount: number }[]): number {
  return entries.reduce((total, entry) => total + entry.amount, 0);
}

function sendError(error: FastifyError, _request: FastifyRequest, reply: FastifyReply): void {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({
      field: `${error.validationContext}${instancePath}`.replace(/\/$/, '').replaceAll('/', '.'),
      message: message ?? 'is invalid',
    }));
    const message = errors.map((each) => `${each.field}: ${each.message}`).join('; ');
    reply.code(400).send({ code: 'invalid_request', message, errors });
    return;
  }
  const refused = error instanceof RefusedRequestError;
  if (refused || (error.statusCode !== undefined && error.statusCode < 500)) {
    const code = refused ? error.code : 'invalid_request';
    reply.code(error.statusCode ?? 400).send({ code, message: error.message });
    return;
  }
  process.stderr.write(`${error.stack ?? error.message}\n`);
  reply.code(500).send({ code: 'internal_error', message: 'The payments simulator failed.' });
}

/** Connections without an answer: held open, then cut. */
class HeldConnections {
  private readonly sockets = new Set<Socket>();

  constructor(private readonly holdMs: number) {}

  hold(reply: FastifyReply): FastifyReply {
    reply.hijack();
    const { socket } = reply.request.raw;
    if (socket.destroyed) return reply;
    this.sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), this.holdMs);
    socket.once('close', () => {
      clearTimeout(timer);
      this.sockets.delete(socket);
    });
    return reply;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }
}
