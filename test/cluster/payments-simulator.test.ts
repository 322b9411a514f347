/**
 * The payments simulator as its callers see it: a real process, asked over HTTP.
 */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type RunningSimulator,
  startPaymentsSimulator,
  stopPaymentsSimulators,
  withDataFile,
} from '../../testkit/start-payments-simulator';
import { until } from '../../testkit/until';

interface Reply {
  status: number;
  // Tests compare whole answers; a type here would only repeat what they are about to check.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  body: any;
}

async function ask(
  { url }: RunningSimulator,
  path: string,
  { key, body, timeoutMs = 20_000 }: { key?: string; body?: unknown; timeoutMs?: number } = {},
): Promise<Reply> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(key === undefined ? {} : { 'idempotency-key': key }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(timeoutMs),
  });
  return { status: response.status, body: await response.json() };
}

function charge(simulator: RunningSimulator, key: string, token: string, amount = 100) {
  return ask(simulator, '/v1/charges', { key, body: { amount, token, reference: `of ${key}` } });
}

async function books(simulator: RunningSimulator) {
  return (await ask(simulator, '/v1/charges')).body;
}

describe('charges', () => {
  afterEach(stopPaymentsSimulators);

  let simulator: RunningSimulator;

  beforeEach(async () => {
    simulator = await startPaymentsSimulator({ PAYMENTS_SLOW_MS: '400', PAYMENTS_HOLD_MS: '300' });
  });

  test('tok_approve captures and answers with the charge', async () => {
    const reply = await charge(simulator, 'order-1/charge', 'tok_approve', 1250);
    expect(reply).toEqual({
      status: 201,
      body: {
        chargeId: expect.stringMatching(/^ch_/),
        idempotencyKey: 'order-1/charge',
        reference: 'of order-1/charge',
        amount: 1250,
        currency: 'KRW',
        status: 'captured',
        createdAt: expect.any(String),
      },
    });
  });

  test('an amount of 0 is captured like any other', async () => {
    expect((await charge(simulator, 'gift', 'tok_approve', 0)).status).toBe(201);
    expect((await books(simulator)).totals).toMatchObject({ chargeCount: 1, capturedAmount: 0 });
  });

  test.each([
    ['tok_decline', 'declined'],
    ['tok_nobody_issued', 'invalid_token'],
  ])('%s is declined as %s, each time, and takes nothing', async (token, code) => {
    const first = await charge(simulator, 'k', token);
    expect(first).toMatchObject({ status: 402, body: { code } });
    expect(await charge(simulator, 'k', token)).toEqual(first);
    expect((await books(simulator)).charges).toEqual([]);
  });

  test('tok_slow is captured only after its delay, once, for all who ask meanwhile', async () => {
    const started = performance.now();
    const replies = await Promise.all([1, 2, 3].map(() => charge(simulator, 'k', 'tok_slow')));
    expect(performance.now() - started).toBeGreaterThanOrEqual(390);
    expect(replies.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(new Set(replies.map(({ body }) => body.chargeId)).size).toBe(1);
    expect((await books(simulator)).totals.chargeCount).toBe(1);
  });

  test('tok_slow completes after its caller has timed out, and a retry joins it', async () => {
    const slower = await startPaymentsSimulator({ PAYMENTS_SLOW_MS: '2000' });
    const body = { amount: 5, token: 'tok_slow', reference: 'r' };
    await expect(
      ask(slower, '/v1/charges', { key: 'k', body, timeoutMs: 1_000 }),
    ).rejects.toMatchObject({ name: 'TimeoutError' });
    const askedAgain = performance.now();
    expect((await ask(slower, '/v1/charges', { key: 'k', body })).status).toBe(201);
    expect(performance.now() - askedAgain).toBeLessThan(1_900);
    expect((await books(slower)).totals).toMatchObject({ chargeCount: 1, capturedAmount: 5 });
  });

  test('tok_in_progress is answered 409 from the first call on, and captured once after its delay', async () => {
    const started = performance.now();
    const early = await charge(simulator, 'k', 'tok_in_progress');
    expect(early).toMatchObject({ status: 409, body: { code: 'in_progress' } });
    expect((await charge(simulator, 'k', 'tok_in_progress')).status).toBe(409);
    const captured = await until('the charge is captured', async () => {
      const reply = await charge(simulator, 'k', 'tok_in_progress');
      return reply.status === 409 ? undefined : reply;
    });
    expect(captured.status).toBe(201);
    expect(performance.now() - started).toBeGreaterThanOrEqual(390);
    expect(await charge(simulator, 'k', 'tok_in_progress')).toEqual(captured);
    expect((await books(simulator)).totals.chargeCount).toBe(1);
  });

  test('tok_flaky fails twice for each key, then is captured', async () => {
    for (const key of ['a', 'b']) {
      const statuses = [];
      for (let attempt = 1; attempt <= 4; attempt++) {
        statuses.push((await charge(simulator, key, 'tok_flaky')).status);
      }
      expect(statuses).toEqual([503, 503, 201, 201]);
    }
    expect((await books(simulator)).totals.chargeCount).toBe(2);
  });

  test('tok_lost_answer is captured once, its connections are cut, and a lookup finds it', async () => {
    await expect(charge(simulator, 'k', 'tok_lost_answer')).rejects.toThrow('fetch failed');
    await expect(charge(simulator, 'k', 'tok_lost_answer')).rejects.toThrow('fetch failed');
    const byKey = await ask(simulator, '/v1/charges?idempotencyKey=k');
    const byReference = await ask(simulator, '/v1/charges?reference=of%20k');
    expect(byKey.body.charges).toEqual([
      expect.objectContaining({ idempotencyKey: 'k', amount: 100, status: 'captured' }),
    ]);
    expect(byReference).toEqual(byKey);
  });

  test('tok_silent is never captured, its connections are cut, and a lookup finds nothing', async () => {
    await expect(charge(simulator, 'k', 'tok_silent')).rejects.toThrow('fetch failed');
    await expect(charge(simulator, 'k', 'tok_silent')).rejects.toThrow('fetch failed');
    expect((await ask(simulator, '/v1/charges?idempotencyKey=k')).body.charges).toEqual([]);
    expect((await books(simulator)).charges).toEqual([]);
  });

  test('one key charges once, whether asked one after another or all at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 20 }, () => charge(simulator, 'k', 'tok_approve')),
    );
    replies.push(await charge(simulator, 'k', 'tok_approve'));
    for (const reply of replies) expect(reply).toEqual(replies[0]);
    expect((await books(simulator)).totals).toMatchObject({ chargeCount: 1, capturedAmount: 100 });
  });

  test.each(['tok_approve', 'tok_decline', 'tok_flaky'])(
    'a key that came with %s is refused with another body',
    async (token) => {
      await charge(simulator, 'k', token);
      const reply = await charge(simulator, 'k', token, 101);
      expect(reply).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } });
    },
  );
});

describe('requests that break the schema', () => {
  let simulator: RunningSimulator;

  beforeAll(async () => {
    simulator = await startPaymentsSimulator();
  });

  afterAll(stopPaymentsSimulators);

  const right = { amount: 1, token: 'tok_approve', reference: 'r' };

  test.each([
    ['a negative amount', { amount: -1 }, 'body.amount'],
    ['a fraction', { amount: 1.5 }, 'body.amount'],
    ['an amount past safe integers', { amount: 2 ** 53 }, 'body.amount'],
    ['an amount as text', { amount: '1' }, 'body.amount'],
    ['an empty token', { token: '' }, 'body.token'],
    ['a reference of a wrong type', { reference: 7 }, 'body.reference'],
    ['a currency that is none', { currency: 'won' }, 'body.currency'],
    ['an unknown field', { tip: 1 }, 'body'],
  ])('%s is refused by name and claims no key', async (name, wrong, field) => {
    const key = name.replaceAll(' ', '-');
    expect(
      await ask(simulator, '/v1/charges', { key, body: { ...right, ...wrong } }),
    ).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ field }] },
    });
    expect((await ask(simulator, '/v1/charges', { key, body: right })).status).toBe(201);
  });

  test.each([
    ['no key', {}],
    ['a key with a space', { key: 'a b' }],
    ['a key that is too long', { key: 'k'.repeat(256) }],
  ])('%s is refused by name', async (_name, key) => {
    expect(await ask(simulator, '/v1/charges', { ...key, body: right })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', errors: [{ field: 'headers.idempotency-key' }] },
    });
  });

  test('an unknown query is refused instead of listing everything', async () => {
    expect((await ask(simulator, '/v1/charges?idempotencykey=k')).status).toBe(400);
  });

  test('a body that is not JSON and an unknown route are answered with a code', async () => {
    const broken = await fetch(`${simulator.url}/v1/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'k' },
      body: '{',
    });
    expect(broken.status).toBe(400);
    expect(await broken.json()).toMatchObject({ code: 'invalid_request' });
    expect(await ask(simulator, '/v2')).toMatchObject({ status: 404, body: { code: 'not_found' } });
  });
});

describe('voids', () => {
  afterEach(stopPaymentsSimulators);

  const voidKey = (simulator: RunningSimulator, idempotencyKey: string) =>
    ask(simulator, '/v1/charges/void', { body: { idempotencyKey } });

  test('a captured charge is given back, once, its key is closed, and the books agree', async () => {
    const simulator = await startPaymentsSimulator();
    const { chargeId } = (await charge(simulator, 'k', 'tok_approve', 100)).body;
    const first = await voidKey(simulator, 'k');
    expect(first).toMatchObject({
      status: 200,
      body: { status: 'voided', charges: [{ chargeId, amount: 100, refundedAmount: 100 }] },
    });
    expect(await voidKey(simulator, 'k')).toEqual(first);
    expect(await charge(simulator, 'k', 'tok_approve', 100)).toMatchObject({
      status: 402,
      body: { code: 'voided' },
    });
    expect((await books(simulator)).totals).toEqual({
      chargeCount: 1,
      capturedAmount: 100,
      refundCount: 1,
      refundedAmount: 100,
      netAmount: 0,
    });
  });

  test('a charge that arrives after its key was voided is declined', async () => {
    const simulator = await startPaymentsSimulator();
    expect((await voidKey(simulator, 'k')).body.charges).toEqual([]);
    expect((await charge(simulator, 'k', 'tok_approve')).status).toBe(402);
    expect((await books(simulator)).charges).toEqual([]);
  });

  test('a slow charge under way is declined when its key is voided meanwhile', async () => {
    const simulator = await startPaymentsSimulator({ PAYMENTS_SLOW_MS: '2000' });
    const underWay = charge(simulator, 'k', 'tok_slow');
    // Another body is refused only once the first one has claimed the key, so it has arrived.
    while ((await charge(simulator, 'k', 'tok_decline')).status !== 422);
    await voidKey(simulator, 'k');
    expect(await underWay).toMatchObject({ status: 402, body: { code: 'voided' } });
    expect((await books(simulator)).charges).toEqual([]);
  });
});

describe('memory', () => {
  afterEach(stopPaymentsSimulators);

  test('everything survives kill -9: charges, refunds, declines, voids and tries', () =>
    withDataFile(async (PAYMENTS_DATA_FILE) => {
      const environment = { PAYMENTS_DATA_FILE, PAYMENTS_HOLD_MS: '100' };
      const before = await startPaymentsSimulator(environment);
      const approved = await charge(before, 'approve', 'tok_approve', 70);
      const declined = await charge(before, 'decline', 'tok_decline');
      await charge(before, 'refund', 'tok_approve', 20);
      const refunded = await ask(before, '/v1/charges/void', {
        body: { idempotencyKey: 'refund' },
      });
      await charge(before, 'flaky', 'tok_flaky');
      await expect(charge(before, 'lost', 'tok_lost_answer', 5)).rejects.toThrow('fetch failed');
      await ask(before, '/v1/charges/void', { body: { idempotencyKey: 'void' } });
      const booksBefore = await books(before);
      await before.stop('SIGKILL');

      const after = await startPaymentsSimulator(environment);
      expect(await books(after)).toEqual(booksBefore);
      expect(booksBefore.totals).toMatchObject({ capturedAmount: 95, refundedAmount: 20 });
      expect(await charge(after, 'approve', 'tok_approve', 70)).toEqual(approved);
      expect(await charge(after, 'decline', 'tok_decline')).toEqual(declined);
      expect(await ask(after, '/v1/charges/void', { body: { idempotencyKey: 'refund' } })).toEqual(
        refunded,
      );
      expect((await charge(after, 'approve', 'tok_approve', 71)).status).toBe(422);
      expect((await charge(after, 'flaky', 'tok_flaky')).status).toBe(503);
      expect((await charge(after, 'flaky', 'tok_flaky')).status).toBe(201);
      expect((await charge(after, 'void', 'tok_approve')).status).toBe(402);
      await expect(charge(after, 'lost', 'tok_lost_answer', 5)).rejects.toThrow('fetch failed');
    }));

  test('kill -9 amid charges loses none that was answered and doubles none that is tried again', () =>
    withDataFile(async (PAYMENTS_DATA_FILE) => {
      const before = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      const keys = Array.from({ length: 200 }, (_, index) => `k${index}`);
      const answered = new Map<string, Reply>();
      let killed: Promise<number | null> | undefined;
      // Eight clients, so that most of the charges are still to come when it is killed.
      const next = keys.values();
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          for (const key of next) {
            const reply = await charge(before, key, 'tok_approve').catch(() => undefined);
            if (reply !== undefined) answered.set(key, reply);
            if (answered.size === 50) killed ??= before.stop('SIGKILL');
          }
        }),
      );
      await killed;
      expect(answered.size).toBeLessThan(keys.length);

      const after = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      for (const key of keys) {
        const reply = await charge(after, key, 'tok_approve');
        expect(reply).toEqual(answered.get(key) ?? expect.objectContaining({ status: 201 }));
      }
      expect((await books(after)).totals).toMatchObject({
        chargeCount: keys.length,
        capturedAmount: 100 * keys.length,
      });
    }));

  test('a torn last line is cut off, and what is written next can be read again', () =>
    withDataFile(async (PAYMENTS_DATA_FILE) => {
      const first = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      await charge(first, 'a', 'tok_approve');
      await first.stop('SIGKILL');
      appendFileSync(PAYMENTS_DATA_FILE, '{"type":"captured","charge":{"chargeId":"ch_torn 한');

      const second = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      await charge(second, 'b', 'tok_approve');
      const booksBefore = await books(second);
      await second.stop('SIGKILL');

      const third = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      expect(await books(third)).toEqual(booksBefore);
      expect(booksBefore.totals.chargeCount).toBe(2);
    }));

  test.each(['not JSON\n', '{"type":"gift"}\n'])(
    'a data file that holds %j is refused instead of forgotten',
    (content) =>
      withDataFile(async (PAYMENTS_DATA_FILE) => {
        mkdirSync(dirname(PAYMENTS_DATA_FILE), { recursive: true });
        writeFileSync(PAYMENTS_DATA_FILE, content);
        await expect(startPaymentsSimulator({ PAYMENTS_DATA_FILE })).rejects.toThrow(
          'not a record of the payments simulator',
        );
        expect(readFileSync(PAYMENTS_DATA_FILE, 'utf8')).toBe(content);
      }),
  );

  test('payment tokens are not written to the disk', () =>
    withDataFile(async (PAYMENTS_DATA_FILE) => {
      const simulator = await startPaymentsSimulator({ PAYMENTS_DATA_FILE });
      const tokens = ['tok_approve', 'tok_decline', 'tok_flaky', 'tok_somebody'];
      for (const [index, token] of tokens.entries()) await charge(simulator, `k${index}`, token);
      const written = readFileSync(PAYMENTS_DATA_FILE, 'utf8');
      expect(written.split('\n')).toHaveLength(tokens.length + 1);
      expect(written).not.toContain('tok_');
    }));
});

describe('the process', () => {
  afterEach(stopPaymentsSimulators);

  test('answers /healthz, and SIGTERM ends it with 0 although a connection is held open', async () => {
    const simulator = await startPaymentsSimulator({ PAYMENTS_HOLD_MS: '600000' });
    expect(await ask(simulator, '/healthz')).toEqual({ status: 200, body: { status: 'ok' } });
    const held = charge(simulator, 'k', 'tok_silent').catch((error: unknown) => error);
    while ((await charge(simulator, 'k', 'tok_decline')).status !== 422);
    expect(await simulator.stop('SIGTERM')).toBe(0);
    expect(await held).toMatchObject({ message: 'fetch failed' });
  });

  test('it stops when the process that started it is gone', async () => {
    const simulator = await startPaymentsSimulator();
    expect(await simulator.abandon()).toBe(0);
  });

  test('a wrong variable stops it with a message that names the variable', async () => {
    await expect(startPaymentsSimulator({ PAYMENTS_PORT: '65536' })).rejects.toThrow(
      'PAYMENTS_PORT: must be a whole number from 0 to 65535',
    );
    await expect(startPaymentsSimulator({ PAYMENTS_SLOW_MS: 'soon' })).rejects.toThrow(
      'PAYMENTS_SLOW_MS',
    );
  });

  test('a port in use stops it with a message that says what to set', async () => {
    const { url } = await startPaymentsSimulator();
    await expect(startPaymentsSimulator({ PAYMENTS_PORT: new URL(url).port })).rejects.toThrow(
      'set PAYMENTS_PORT to a free port',
    );
  });
});
