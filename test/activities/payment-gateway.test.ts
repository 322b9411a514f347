/**
 * The payment gateway's HTTP adapter: against the real simulator process, and against a server
 * that answers whatever a test tells it to.
 */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  createHttpPaymentGateway,
  PaymentDeclinedError,
  type PaymentGateway,
  PaymentGatewayProtocolError,
  PaymentGatewayUnavailableError,
  PaymentInProgressError,
} from '../../activities/commerce/payment-gateway';
import {
  startPaymentsSimulator,
  stopPaymentsSimulators,
  withDataFile,
} from '../../testkit/start-payments-simulator';
import { until } from '../../testkit/until';

const requestTimeoutMs = 5_000;
const idempotencyKey = 'order-7/charge';

function requestWith(token: string) {
  return { idempotencyKey, amount: 1250, token, reference: 'order-7' };
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => {
      throw new Error(`expected a failure, got ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}

afterEach(stopPaymentsSimulators);

describe('against the simulator', () => {
  let gateway: PaymentGateway;
  let url: string;

  beforeEach(async () => {
    ({ url } = await startPaymentsSimulator({ PAYMENTS_SLOW_MS: '800', PAYMENTS_HOLD_MS: '200' }));
    gateway = createHttpPaymentGateway({ url, requestTimeoutMs });
  });

  test('an approved charge resolves, is found, and stays one when charged again', async () => {
    const charge = await gateway.charge(requestWith('tok_approve'));
    expect(charge).toMatchObject({ idempotencyKey, amount: 1250, reference: 'order-7' });
    expect(await gateway.charge(requestWith('tok_approve'))).toMatchObject(charge);
    expect(await gateway.findCharge({ idempotencyKey })).toEqual({ ...charge, refundedAmount: 0 });
  });

  test('one key charged concurrently is one charge', async () => {
    const charges = await Promise.all(
      Array.from({ length: 10 }, () => gateway.charge(requestWith('tok_approve'))),
    );
    expect(new Set(charges.map(({ chargeId }) => chargeId)).size).toBe(1);
  });

  test('a gift of 0 is charged and refunded', async () => {
    const charge = await gateway.charge({ ...requestWith('tok_approve'), amount: 0 });
    expect(await gateway.voidCharge({ idempotencyKey })).toEqual({ ...charge, refundedAmount: 0 });
  });

  test.each([
    ['tok_decline', 'declined'],
    ['tok_unknown', 'invalid_token'],
  ])('%s is a final decline with the reason %s', async (token, reason) => {
    const error = await failureOf(gateway.charge(requestWith(token)));
    expect(error).toBeInstanceOf(PaymentDeclinedError);
    expect(error).toMatchObject({ code: 'PAYMENT_DECLINED', reason, retryable: false });
    expect(await gateway.findCharge({ idempotencyKey })).toBeUndefined();
  });

  test('a slow charge that timed out is unknown, and asking again gets the one charge', async () => {
    const hasty = createHttpPaymentGateway({ url, requestTimeoutMs: 200 });
    const error = await failureOf(hasty.charge(requestWith('tok_slow')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(error).toMatchObject({
      code: 'PAYMENT_GATEWAY_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('nothing in 200 ms'),
      cause: expect.objectContaining({ name: 'TimeoutError' }),
    });
    const charge = await gateway.charge(requestWith('tok_slow'));
    expect(await gateway.findCharge({ idempotencyKey })).toMatchObject(charge);
  });

  test('a charge whose answer was lost is found by looking it up', async () => {
    const error = await failureOf(gateway.charge(requestWith('tok_lost_answer')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(await gateway.findCharge({ idempotencyKey })).toMatchObject({
      amount: 1250,
      reference: 'order-7',
      refundedAmount: 0,
    });
  });

  test('a flaky gateway is unavailable twice, then charges', async () => {
    for (const _attempt of [1, 2]) {
      const error = await failureOf(gateway.charge(requestWith('tok_flaky')));
      expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    }
    expect(await gateway.charge(requestWith('tok_flaky'))).toMatchObject({ amount: 1250 });
  });

  test('a charge in progress is unknown, not impossible, and is found once it is captured', async () => {
    const error = await failureOf(gateway.charge(requestWith('tok_in_progress')));
    expect(error).toBeInstanceOf(PaymentInProgressError);
    expect(error).toMatchObject({ code: 'PAYMENT_IN_PROGRESS', retryable: true });
    const found = await until('the charge is found', () => gateway.findCharge({ idempotencyKey }));
    expect(await gateway.charge(requestWith('tok_in_progress'))).toMatchObject({
      chargeId: found.chargeId,
    });
  });

  test('a silent gateway is unavailable, nothing is found, and voiding ends it for good', async () => {
    const error = await failureOf(gateway.charge(requestWith('tok_silent')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(await gateway.findCharge({ idempotencyKey })).toBeUndefined();
    expect(await gateway.voidCharge({ idempotencyKey })).toBeUndefined();
    expect(await failureOf(gateway.charge(requestWith('tok_silent')))).toMatchObject({
      code: 'PAYMENT_DECLINED',
      reason: 'voided',
    });
  });

  test('voiding a charge whose answer was lost gives its money back, however often', async () => {
    await failureOf(gateway.charge(requestWith('tok_lost_answer')));
    const voided = await gateway.voidCharge({ idempotencyKey });
    expect(voided).toMatchObject({ amount: 1250, refundedAmount: 1250 });
    expect(await gateway.voidCharge({ idempotencyKey })).toEqual(voided);
    expect(await gateway.findCharge({ idempotencyKey })).toEqual(voided);
  });

  test('a key used for another request is a protocol error that no retry helps', async () => {
    await gateway.charge(requestWith('tok_approve'));
    const error = await failureOf(gateway.charge({ ...requestWith('tok_approve'), amount: 1 }));
    expect(error).toBeInstanceOf(PaymentGatewayProtocolError);
    expect(error).toMatchObject({
      code: 'PAYMENT_GATEWAY_PROTOCOL',
      retryable: false,
      message: expect.stringContaining('idempotency_key_reused'),
    });
  });

  test('a key that no header can carry is refused before anything is sent', async () => {
    for (const wrong of ['', 'a b', 'a\nb', '주문', 'k'.repeat(256)]) {
      const request = { ...requestWith('tok_approve'), idempotencyKey: wrong };
      expect(await failureOf(gateway.charge(request))).toMatchObject({
        code: 'PAYMENT_GATEWAY_PROTOCOL',
        retryable: false,
        message: expect.stringContaining('nothing was sent'),
      });
    }
  });
});

test('a killed gateway is unavailable, and knows its charges when it is back', () =>
  withDataFile(async (PAYMENTS_DATA_FILE) => {
    const before = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
    const gateway = createHttpPaymentGateway({ url: before.url, requestTimeoutMs });
    const charge = await gateway.charge(requestWith('tok_approve'));
    await before.stop('SIGKILL');
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/ECONNREFUSED|ECONNRESET|other side closed/),
      cause: expect.objectContaining({ message: 'fetch failed' }),
    });

    await startPaymentsSimulator({ PAYMENTS_DATA_FILE, PAYMENTS_PORT: new URL(before.url).port });
    expect(await gateway.findCharge({ idempotencyKey })).toEqual({ ...charge, refundedAmount: 0 });
    expect(await gateway.charge(requestWith('tok_approve'))).toEqual(charge);
  }));

describe('against a gateway that answers anything', () => {
  let peer: Server;
  let gateway: PaymentGateway;
  let respond: RequestListener;
  let requests: { method: string; url: string }[];

  beforeEach(async () => {
    requests = [];
    peer = createServer((request, response) => {
      requests.push({ method: request.method ?? '', url: request.url ?? '' });
      respond(request, response);
    });
    peer.listen(0, '127.0.0.1');
    await once(peer, 'listening');
    const url = `http://127.0.0.1:${(peer.address() as AddressInfo).port}`;
    gateway = createHttpPaymentGateway({ url: `${url}/gateway`, requestTimeoutMs: 500 });
  });

  afterEach(async () => {
    peer.closeAllConnections();
    peer.close();
    await once(peer, 'close');
  });

  const goodCharge = {
    chargeId: 'ch_1',
    idempotencyKey,
    reference: 'order-7',
    amount: 1250,
    status: 'captured',
  };

  function answerWith(status: number, body: unknown, headers: Record<string, string> = {}): void {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    respond = (_request, response) => response.writeHead(status, headers).end(text);
  }

  test('a path in the address is kept, and fields that are not ours are dropped', async () => {
    answerWith(201, { ...goodCharge, riskScore: 3 });
    const { status: _status, ...expected } = goodCharge;
    expect(await gateway.charge(requestWith('tok_approve'))).toEqual(expected);
    expect(requests).toEqual([{ method: 'POST', url: '/gateway/v1/charges' }]);
  });

  test.each<[string, number, unknown, boolean]>([
    ['HTML', 201, '<html>', true],
    ['an empty body', 201, '', true],
    ['a JSON null', 201, null, true],
    ['a missing charge ID', 201, { ...goodCharge, chargeId: undefined }, true],
    ['an amount as text', 201, { ...goodCharge, amount: '1250' }, true],
    ['a fraction', 201, { ...goodCharge, amount: 1250.5 }, true],
    ['a status that is not captured', 201, { ...goodCharge, status: 'pending' }, true],
    ['more than a megabyte', 201, { ...goodCharge, padding: 'x'.repeat(1024 * 1024) }, true],
    ['success under another status', 202, goodCharge, true],
    ['a decline that gives no reason', 402, {}, true],
    ['a charge of another amount', 201, { ...goodCharge, amount: 1251 }, false],
    ['a charge of another order', 201, { ...goodCharge, reference: 'order-8' }, false],
    ['a charge of another key', 201, { ...goodCharge, idempotencyKey: 'other' }, false],
    ['a refused request', 400, { code: 'invalid_request', message: 'no' }, false],
    ['a refused credential', 401, 'who are you', false],
    ['a missing route', 404, '', false],
  ])('%s in answer to a charge is a protocol error', async (_case, status, body, retryable) => {
    answerWith(status, body);
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toBeInstanceOf(PaymentGatewayProtocolError);
    expect(error).toMatchObject({ code: 'PAYMENT_GATEWAY_PROTOCOL', retryable });
  });

  test('an unreadable answer keeps its cause and names the field, but not the token', async () => {
    answerWith(201, { ...goodCharge, amount: -1 });
    const error = (await failureOf(gateway.charge(requestWith('tok_private')))) as Error;
    expect(error.cause).toMatchObject({ issues: [{ path: ['amount'] }] });
    expect(error.message).toContain('amount');
    expect(error.message).not.toContain('tok_private');
  });

  test('a payment is not sent on to where a redirect points', async () => {
    answerWith(307, '', { location: '/gateway/elsewhere' });
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toMatchObject({ code: 'PAYMENT_GATEWAY_PROTOCOL', retryable: false });
    expect(requests).toHaveLength(1);
  });

  test.each([500, 502, 503, 504, 408, 429])('status %i is an unknown outcome', async (status) => {
    answerWith(status, 'busy');
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(error).toMatchObject({ message: expect.stringContaining(`status ${status}`) });
  });

  test.each([
    ['charge', () => gateway.charge(requestWith('tok_approve'))],
    ['lookup', () => gateway.findCharge({ idempotencyKey })],
    ['void', () => gateway.voidCharge({ idempotencyKey })],
  ])('a %s that is answered with 409 is in progress, whatever the body', async (_call, call) => {
    answerWith(409, 'conflict');
    expect(await failureOf(call())).toBeInstanceOf(PaymentInProgressError);
  });

  test('a body that never ends is an unknown outcome after the time-out', async () => {
    respond = (_request, response) => response.writeHead(201).write('{"chargeId":');
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
    expect(error).toMatchObject({ cause: expect.objectContaining({ name: 'TimeoutError' }) });
  });

  test('a connection cut in the middle of the body is an unknown outcome', async () => {
    respond = (_request, response) => {
      response.writeHead(201, { 'content-length': '500' });
      response.write('{"chargeId":', () => response.destroy());
    };
    const error = await failureOf(gateway.charge(requestWith('tok_approve')));
    expect(error).toBeInstanceOf(PaymentGatewayUnavailableError);
  });

  test.each<[string, unknown]>([
    ['another key', [{ ...goodCharge, refundedAmount: 0, idempotencyKey: 'other' }]],
    [
      'two charges',
      ['ch_1', 'ch_2'].map((chargeId) => ({ ...goodCharge, chargeId, refundedAmount: 0 })),
    ],
    ['more refunded than taken', [{ ...goodCharge, refundedAmount: 1251 }]],
    ['no list', undefined],
  ])('a lookup that answers with %s is a protocol error', async (_case, charges) => {
    answerWith(200, { charges });
    expect(await failureOf(gateway.findCharge({ idempotencyKey }))).toBeInstanceOf(
      PaymentGatewayProtocolError,
    );
  });

  test('a void that leaves money in the charge is a protocol error', async () => {
    const charges = [{ ...goodCharge, refundedAmount: 1249 }];
    answerWith(200, { idempotencyKey, status: 'voided', charges });
    expect(await failureOf(gateway.voidCharge({ idempotencyKey }))).toBeInstanceOf(
      PaymentGatewayProtocolError,
    );
  });
});

test.each(['localhost', 'ftp://127.0.0.1', ''])('the address %j is refused at once', (url) => {
  expect(() => createHttpPaymentGateway({ url, requestTimeoutMs })).toThrow(TypeError);
});
