/**
 * Threat: the payment gateway, or who speaks in its place, answers something that makes the shop
 * believe that it was paid, or breaks it (OWASP API10), or sends it to another address (API7).
 *
 * `FUZZ_SEED` repeats a run.
 */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import {
  createHttpPaymentGateway,
  PaymentDeclinedError,
  PaymentGatewayProtocolError,
  PaymentGatewayUnavailableError,
  PaymentInProgressError,
  type PaymentGateway,
} from '../../activities/commerce/payment-gateway';
import { readSeed } from './fuzzing';

const request = {
  idempotencyKey: 'order-7/charge',
  amount: 1_250,
  token: 'tok_secret',
  reference: 'order-7',
};

const honest = {
  chargeId: 'ch_1',
  idempotencyKey: request.idempotencyKey,
  reference: request.reference,
  amount: request.amount,
  status: 'captured',
};

let server: Server;
let gateway: PaymentGateway;
let answer: { status: number; body: string; headers: Record<string, string> };
let calls: string[];

beforeAll(async () => {
  server = createServer((call, response) => {
    calls.push(call.url ?? '');
    call.resume();
    response.writeHead(answer.status, answer.headers).end(answer.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  gateway = createHttpPaymentGateway({ url: `http://127.0.0.1:${port}`, requestTimeoutMs: 5_000 });
});

beforeEach(() => {
  calls = [];
  answer = { status: 201, body: JSON.stringify(honest), headers: {} };
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.catch((error: unknown) => error);

function isTyped(error: unknown): boolean {
  return (
    error instanceof PaymentDeclinedError ||
    error instanceof PaymentGatewayProtocolError ||
    error instanceof PaymentGatewayUnavailableError ||
    error instanceof PaymentInProgressError
  );
}

test('an honest answer is believed, so that the tests below can fail', async () => {
  expect(await gateway.charge(request)).toMatchObject({ chargeId: 'ch_1', amount: 1_250 });
});

const statuses = fc.constantFrom(200, 201, 202, 204, 400, 402, 404, 409, 418, 429, 500, 503);
const wrongFields = fc.record(
  { ...Object.fromEntries(Object.keys(honest).map((name) => [name, fc.jsonValue()])) },
  { requiredKeys: [] },
);
const bodies = fc.oneof(
  fc.string(),
  fc.json(),
  wrongFields.map((wrong) => JSON.stringify({ ...honest, ...wrong })),
  fc
    .constantFrom(...Object.keys(honest))
    .map((name) =>
      JSON.stringify(
        Object.fromEntries(Object.entries(honest).filter(([other]) => other !== name)),
      ),
    ),
);

test('whatever it answers, a charge is believed only if it is the one that was asked for', async () => {
  const seed = readSeed();
  await fc.assert(
    fc.asyncProperty(statuses, bodies, async (status, body) => {
      answer = { status, body: status === 204 ? '' : body, headers: {} };
      const outcome = await outcomeOf(gateway.charge(request));
      if (isTyped(outcome)) return;
      const { amount, idempotencyKey, reference } = request;
      expect(outcome).toMatchObject({ amount, idempotencyKey, reference });
      expect(status).toBe(201);
      expect(JSON.parse(body)).toMatchObject({ status: 'captured' });
    }),
    { seed, numRuns: 300 },
  );
}, 60_000);

test.each(['findCharge', 'voidCharge'] as const)(
  'whatever it answers, %s ends in something that is known',
  async (method) => {
    const ask = {
      findCharge: () => gateway.findCharge(request),
      voidCharge: () => gateway.voidCharge(request),
    }[method];
    await fc.assert(
      fc.asyncProperty(statuses, bodies, async (status, body) => {
        answer = { status, body: status === 204 ? '' : body, headers: {} };
        const outcome = await outcomeOf(ask());
        if (outcome instanceof Error) expect(isTyped(outcome)).toBe(true);
      }),
      { seed: readSeed(), numRuns: 100 },
    );
  },
  60_000,
);

test.each([301, 302, 307, 308])(
  'a redirect by %i is not followed with the payment',
  async (status) => {
    answer = { status, body: '', headers: { location: '/elsewhere' } };
    expect(await outcomeOf(gateway.charge(request))).toBeInstanceOf(PaymentGatewayProtocolError);
    expect(calls).toEqual(['/v1/charges']);
  },
);

test('an answer without end is not read to its end', async () => {
  answer = { status: 201, body: ' '.repeat(5 * 1024 * 1024), headers: {} };
  expect(await outcomeOf(gateway.charge(request))).toBeInstanceOf(PaymentGatewayProtocolError);
});

test('no error reveals the payment token', async () => {
  for (const status of [201, 302, 400, 402, 500]) {
    answer = { status, body: '{}', headers: {} };
    const error = (await outcomeOf(gateway.charge(request))) as Error;
    expect(`${error.message} ${String(error.cause)}`).not.toContain(request.token);
  }
});
