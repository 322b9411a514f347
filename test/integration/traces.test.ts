/** One request is one trace, through Temporal and Kafka, whichever process publishes its events. */
import { randomBytes, randomUUID } from 'node:crypto';
import { taskQueues, workflowTypes } from '../../events/workflow-names';
import {
  startSpanReceiver,
  type ReceivedSpan,
  type SpanReceiver,
} from '../../testkit/span-receiver';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { readTopic } from '../../testkit/topic-reader';
import { until } from '../../testkit/until';

jest.setTimeout(120_000);
const all: ProcessName[] = ['api', 'bridge', 'worker:commerce', 'worker:collector'];
let stack: Stack;

async function registerProduct(stock: number): Promise<string> {
  const body = { name: 'a lamp', price: 1_000, stock };
  return (await stack.call('POST', '/v1/products', { body })).body.productId as string;
}

/** As a caller does that has a trace of its own. */
async function placeOrder(productId: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${stack.apiUrl()}/v1/orders`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer dev-shopper-key',
      'x-user-id': 'ann',
      'idempotency-key': randomUUID(),
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify({ items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' }),
  });
  expect(response.status).toBe(201);
  return ((await response.json()) as { orderId: string }).orderId;
}

async function traceparentsOf(key: string): Promise<(string | undefined)[]> {
  const messages = await readTopic(stack.kafka, 'order-events');
  return messages
    .filter((each) => each.key === key)
    .map(({ headers }) => headers['traceparent']?.toString());
}

describe('with traces recorded', () => {
  let receiver: SpanReceiver;

  beforeAll(async () => {
    receiver = await startSpanReceiver();
    stack = await createStack(all, receiver.environment);
  });

  afterAll(async () => {
    await stack.stop();
    await receiver.stop();
  });

  test("one order is one trace from the HTTP request to the cache's eviction", async () => {
    const productId = await registerProduct(1);

    await placeOrder(productId);

    const eviction = [
      'commerce-api POST /v1/orders',
      'commerce-api UpdateWithStartWorkflow:decision',
      'commerce-worker-commerce RunWorkflow:placeOrder',
      'commerce-worker-commerce StartActivity:reserveStock',
      'commerce-worker-commerce RunActivity:reserveStock',
      'commerce-worker-commerce publish StockAdjusted',
      'commerce-bridge consume StockAdjusted',
      'commerce-bridge StartWorkflow:handleEvent',
      'commerce-worker-collector RunWorkflow:handleEvent',
      'commerce-worker-collector StartActivity:evictCache',
      'commerce-worker-collector RunActivity:evictCache',
    ];
    const trace = await until('the eviction is seen, and all events are handled', () => {
      const spans = traceOf('POST /v1/orders');
      const handled = spans.filter(({ name }) => name === 'RunWorkflow:handleEvent');
      const paths = spans.map((span) => pathTo(span, spans).join(' > '));
      return paths.includes(eviction.join(' > ')) && handled.length === 4 ? spans : undefined;
    });
    const names = trace.map(({ name }) => name);
    for (const type of ['OrderPlaced', 'StockAdjusted', 'PaymentCompleted', 'OrderConfirmed']) {
      expect(names.filter((name) => name === `publish ${type}`)).toHaveLength(1);
      expect(names.filter((name) => name === `consume ${type}`)).toHaveLength(1);
    }
    for (const activity of ['chargeOrder', 'confirmOrder', 'publishOutbox', 'writeAuditLog']) {
      expect(names).toContain(`RunActivity:${activity}`);
    }
    expect(trace.filter(({ parentSpanId }) => !parentSpanId)).toHaveLength(1);
    const ids = new Set(trace.map(({ spanId }) => spanId));
    expect(trace.filter(({ parentSpanId }) => parentSpanId && !ids.has(parentSpanId))).toEqual([]);
  });

  test('an event stays in its trace when somebody else publishes it', async () => {
    const orderId = await placeOrder(await registerProduct(5));
    const [first] = await until('the order is published', async () => {
      const found = await traceparentsOf(orderId);
      return found.length === 3 ? found : undefined;
    });
    await stack.pool.query('UPDATE commerce.outbox SET published_at = NULL WHERE key = $1', [
      orderId,
    ]);

    await stack.temporal.workflow.execute(workflowTypes.publishEvents, {
      workflowId: `publish-${orderId}`,
      taskQueue: taskQueues.commerce,
      args: [{ aggregates: [{ topic: 'order-events', key: orderId }] }],
    });

    const traces = (await traceparentsOf(orderId)).map((each) => each?.split('-')[1]);
    expect(traces).toHaveLength(6);
    expect(new Set(traces)).toEqual(new Set([first?.split('-')[1]]));
  });

  test("a process's lines about a piece of work name its trace, workflow and run", async () => {
    const [api] = stack.running('api');
    const line = await until('the order is logged', () =>
      api!
        .output()
        .split('\n')
        .find((each) => each.includes('"path":"/v1/orders"')),
    );
    const fields = JSON.parse(line) as { trace_id: string; requestId: string };
    expect(receiver.spans.map(({ traceId }) => traceId)).toContain(fields.trace_id);
    expect(fields.requestId).toEqual(expect.any(String));
  });

  function traceOf(root: string): ReceivedSpan[] {
    const first = receiver.spans.find(({ name }) => name === root);
    return receiver.spans.filter(({ traceId }) => traceId === first?.traceId);
  }
});

describe('with traces only passed on', () => {
  beforeAll(async () => {
    stack = await createStack(all);
  });

  afterAll(() => stack.stop());

  test('a trace that a request comes with reaches Kafka as it came', async () => {
    const traceparent = `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;

    const orderId = await placeOrder(await registerProduct(5), { traceparent });

    const found = await until('the order is published', async () => {
      const present = await traceparentsOf(orderId);
      return present.length === 3 ? present : undefined;
    });
    expect(found).toEqual([traceparent, traceparent, traceparent]);
  });

  test('a request without one makes none', async () => {
    const orderId = await placeOrder(await registerProduct(5));

    const found = await until('the order is published', async () => {
      const present = await traceparentsOf(orderId);
      return present.length === 3 ? present : undefined;
    });
    expect(found).toEqual([undefined, undefined, undefined]);
  });
});

/** The spans from the first of a trace down to one. */
function pathTo(span: ReceivedSpan, spans: readonly ReceivedSpan[]): string[] {
  const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
  return [...(parent === undefined ? [] : pathTo(parent, spans)), `${span.service} ${span.name}`];
}
