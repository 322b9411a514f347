/**
 * Threat: a request that nobody thought of crashes the API, hangs it, or is answered with an error
 * of the server's. Requests are made from the description of the API, allowed and broken ones.
 *
 * `FUZZ_REQUESTS=50000` makes it a long test; `FUZZ_SEED` repeats a run.
 */
import fc from 'fast-check';
import {
  createConformanceCheck,
  type ConformanceCheck,
} from '../../../testkit/openapi-conformance';
import { createStack, type Stack } from '../../../testkit/stack';
import { until } from '../../../testkit/until';
import { readSeed, readSize } from '../fuzzing';
import { operationsOf, type OpenApiDocument } from '../../../testkit/http-operations';
import { requestsFor, type FuzzedRequest, type KnownIds } from '../request-arbitraries';

const size = readSize('FUZZ_REQUESTS', 300);
const clients = 8;
const timeoutMs = 120_000 + size * 100;

let stack: Stack;
let check: ConformanceCheck;
let document: OpenApiDocument;

beforeAll(async () => {
  stack = await createStack(['api', 'worker:commerce', 'bridge', 'worker:collector'], {
    BRIDGE_MODE: 'coalesce',
  });
  document = (await (await fetch(`${stack.apiUrl()}/openapi.json`)).json()) as OpenApiDocument;
  check = createConformanceCheck(document);
}, 120_000);

afterAll(() => stack?.stop());

async function makeKnownIds(): Promise<KnownIds> {
  const productIds: string[] = [];
  for (let index = 0; index < 3; index += 1) {
    const body = { name: `Tea ${index}`, price: 500, stock: 1_000_000 };
    productIds.push((await stack.call('POST', '/v1/products', { body })).body.productId);
  }
  const body = { items: [{ productId: productIds[0], quantity: 1 }], paymentToken: 'tok_approve' };
  const order = await stack.call('POST', '/v1/orders', { as: 'shopper', userId: 'ann', body });
  const { rows } = await stack.pool.query<{ event_id: string }>(
    'SELECT event_id FROM commerce.outbox',
  );
  return {
    productId: productIds,
    orderId: [order.body.orderId],
    eventId: rows.map(({ event_id }) => event_id),
    q: [productIds[0]!, order.body.orderId, 'tea', 'ann', '#1', 'catalog-events/0@0'],
    'X-User-Id': ['ann', 'bob'],
    user: ['ann', 'bob'],
    product: productIds,
    'older-than': ['1s', '0s'],
    id: ['1', '2', '3'],
    type: ['StockAdjusted', 'ProductViewed'],
    version: ['1', '2'],
    paymentToken: ['tok_approve', 'tok_decline', 'tok_nobody_knows'],
  };
}

/** What came back, as it is counted. @throws when it is nothing that the API may answer */
async function answerTo({ method, url, headers, body }: FuzzedRequest): Promise<string> {
  const address = stack.apiUrl() + url;
  const response = await fetch(address, {
    method,
    headers,
    signal: AbortSignal.timeout(60_000),
    ...(body === undefined ? {} : { body }),
  });
  const contentType = response.headers.get('content-type');
  if (contentType?.startsWith('text/event-stream') === true) {
    await response.body?.cancel();
    return String(response.status);
  }
  const text = await response.text();
  const isJson = /json/.test(contentType ?? '');
  const { status } = response;
  if (status >= 500 && (status !== 503 || response.headers.get('retry-after') === null)) {
    throw new Error(`${status}: ${text}`);
  }
  // A path that was broken so far that it is another one, such as that of the dashboard, belongs to
  // no operation.
  const answered = { status, contentType, body: isJson ? (JSON.parse(text) as unknown) : text };
  if (status !== 404 && new URL(address).pathname !== '/') check(method, address, answered);
  const code = isJson && status >= 400 ? ` ${(answered.body as { code: string }).code}` : '';
  return `${status}${code}`;
}

test(
  `${size} requests, most of them with something broken, are answered as the description says`,
  async () => {
    const seed = readSeed();
    const known = await makeKnownIds();
    const arbitraries = operationsOf(document).map((operation) => requestsFor(operation, known));
    const requests = fc.sample(fc.oneof(...arbitraries), { seed, numRuns: size }).values();
    const pids = stack.running('api').map(({ pid }) => pid);
    const counts = new Map<string, number>();
    const faults: string[] = [];
    const begun = Date.now();
    // Each of them takes the next request that nobody has taken.
    await Promise.all(
      Array.from({ length: clients }, async () => {
        for (const request of requests) {
          const outcome = await answerTo(request).catch((error: unknown) => {
            const { method, url, headers, body, broken } = request;
            faults.push(
              JSON.stringify({
                error: String(error),
                method,
                url,
                headers,
                body: String(body),
                broken,
              }),
            );
            return 'fault';
          });
          counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
        }
      }),
    );
    const seconds = ((Date.now() - begun) / 1_000).toFixed(1);
    console.info(
      [
        `${size} fuzzed requests in ${seconds} s`,
        ...[...counts].sort().map(([outcome, count]) => `${outcome}: ${count}`),
      ].join('\n'),
    );

    // A few of them tell enough.
    expect(faults.slice(0, 10)).toEqual([]);
    const share = (status: RegExp): number =>
      [...counts].reduce((sum, [outcome, each]) => sum + (status.test(outcome) ? each : 0), 0) /
      size;
    // What gets no further than a refusal, or than an overload, tests little.
    expect(share(/^2/)).toBeGreaterThan(0.1);
    expect(share(/^4/)).toBeGreaterThan(0.2);
    expect(share(/^503/)).toBeLessThan(0.05);
    expect(stack.running('api').map(({ pid }) => pid)).toEqual(pids);
    expect((await stack.call('GET', '/healthz')).status).toBe(200);
  },
  timeoutMs,
);

test(
  'every event of what was changed by them is in the log and handled, and none is parked',
  async () => {
    // What they held would wait.
    await stack.pool.query(
      `UPDATE collector.consumption_holds SET released_by = 'test', release_reason = 'test', released_at = now()
       WHERE released_at IS NULL`,
    );
    await until(
      'all is published, logged and handled',
      async () => {
        const { rows } = await stack.pool.query<{ outbox: number; missing: number }>(`
          SELECT count(*)::int AS outbox,
            (count(*) FILTER (WHERE l.event_id IS NULL OR h.event_id IS NULL))::int AS missing
          FROM commerce.outbox o
          LEFT JOIN collector.event_log l USING (event_id)
          LEFT JOIN collector.event_handled h USING (event_id)`);
        return rows[0]!.outbox > 0 && rows[0]!.missing === 0;
      },
      { timeoutMs, pollMs: 500 },
    );
  },
  timeoutMs,
);
