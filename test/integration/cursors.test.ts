/** Pages follow each other to their end, and no cursor whatever is an error of the server's. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { writeCursor } from '../../api/http/cursor';
import { createAuditLogActivities } from '../../activities/collector/audit-log';
import { createMetricsActivities } from '../../activities/collector/product-metrics';
import { parseEvent } from '../../events/parse';
import { cursors } from '../../testkit/cursor-arbitraries';
import { operationsOf, sampleUrl, type OpenApiDocument } from '../../testkit/http-operations';
import { foreignEvent } from '../../testkit/foreign-producer';
import { createStack, type Stack } from '../../testkit/stack';

let stack: Stack;

beforeAll(async () => {
  stack = await createStack(['api']);
});

afterAll(() => stack.stop());

/** A place where a request can carry a cursor. */
type Carrier = { readonly url: string } & (
  { readonly query: string } | { readonly header: string }
);

async function findCarriers(): Promise<Carrier[]> {
  const document = (await (
    await fetch(`${stack.apiUrl()}/openapi.json`)
  ).json()) as OpenApiDocument;
  return operationsOf(document)
    .filter(({ method }) => method === 'GET')
    .flatMap((operation) =>
      operation.parameters.flatMap(({ name, in: place }): Carrier[] => {
        const url = sampleUrl(operation);
        if (place === 'query' && ['cursor', 'after'].includes(name)) return [{ url, query: name }];
        return name.toLowerCase() === 'last-event-id' ? [{ url, header: name }] : [];
      }),
    );
}

async function statusOf(carrier: Carrier, cursor: string): Promise<number> {
  const url = new URL(stack.apiUrl() + carrier.url);
  const headers = new Headers({ authorization: 'Bearer dev-operator-key' });
  if ('query' in carrier) url.searchParams.set(carrier.query, cursor);
  else headers.set(carrier.header, cursor);
  const response = await fetch(url, { headers });
  if (response.headers.get('content-type')?.startsWith('text/event-stream') !== true) {
    await response.text();
    return response.status;
  }
  // The stream begins before the cursor has been used: what becomes of that shows in what comes.
  const reader = response.body!.getReader();
  const first = await reader.read();
  await reader.cancel();
  return first.done ? 500 : response.status;
}

test('whatever cursor is given, each route that takes one answers with a page or 400', async () => {
  const carriers = await findCarriers();
  expect(carriers.map(({ url }) => url)).toEqual(
    expect.arrayContaining([
      '/v1/events',
      '/v1/orders',
      '/v1/stream',
      '/v1/dead-letters',
      '/v1/metrics/products',
    ]),
  );
  const garbage = writeCursor(['::::', 'a']);
  await fc.assert(
    fc.asyncProperty(cursors, async (cursor) => {
      const statuses = await Promise.all(
        carriers.map(async (carrier) => [carrier.url, await statusOf(carrier, cursor)] as const),
      );
      expect(statuses.filter(([, status]) => status !== 200 && status !== 400)).toEqual([]);
    }),
    { numRuns: 300, examples: [[garbage], [writeCursor(['10:20:20', '10:20:', '1', 'a'])]] },
  );
}, 120_000);

async function handleOrderOf(productId: string, quantity: string): Promise<void> {
  const orderId = randomUUID();
  const items = [{ productId, quantity: 7, unitPrice: 1 }];
  const data = { orderId, userId: 'ann', items, totalAmount: 1 };
  const event = foreignEvent('OrderConfirmed', orderId, data);
  const value = JSON.stringify(event).replace('"quantity":7', `"quantity":${quantity}`);
  parseEvent(Buffer.from(value));
  const place = { topic: 'order-events', partition: 0, offset: 0, producedAt: 0, headers: [] };
  await createAuditLogActivities(stack).writeAuditLog([
    { ...place, eventId: event.id, key: orderId, value },
  ]);
  await createMetricsActivities(stack).updateMetrics({ eventIds: [event.id], workflowId: 'test' });
}

async function readRanking(): Promise<[productId: string, sold: number][]> {
  const found: [string, number][] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const behind = cursor === '' ? '' : `&cursor=${cursor}`;
    const page = await stack.call('GET', `/v1/metrics/products?sort=sales&limit=1${behind}`);
    expect(page.status).toBe(200);
    for (const { productId, salesCount } of page.body.items) found.push([productId, salesCount]);
    cursor = page.body.nextCursor;
  }
  return found;
}

test('the ranking is read to its end, however the numbers of its events were spelled', async () => {
  await handleOrderOf('one', '1.00000000000000000001');
  await handleOrderOf('two', '2.0');
  await handleOrderOf('three', '0.3e1');
  const ranking = [
    ['three', 3],
    ['two', 2],
    ['one', 1],
  ];
  expect(await readRanking()).toEqual(ranking);
  // Nothing writes a fraction any more. Should something do so, no next page may be rejected.
  await stack.pool.query(
    `UPDATE collector.product_metrics SET sales_count = 2.00000000000000000001 WHERE product_id = 'two'`,
  );
  expect(await readRanking()).toEqual(ranking);
});
