/** `order`: the cost of an order, compared with an empty workflow of as many steps. */
import { randomUUID } from 'node:crypto';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { startInBackground } from '../background';
import { closedLoop } from '../closed-loop';
import { measuringProcessorTime } from '../processor-time';
import { inTurn, ratioOf, type Contestant, type Suite } from '../suite';

const clientCounts = [1, 8, 32];
const durationMs = 8_000;
const productCount = 100;
const unitsInStock = 1_000_000;

export const order: Suite = {
  name: 'order',
  about: 'POST /v1/orders until it is decided, at 1, 8 and 32 clients',
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api']);
    const bareWorker = await startInBackground('bare/worker.ts', {
      ...stack.environment,
    });
    try {
      const lastsMs = durationMs * context.scale;
      const sides = await inTurn(
        [await ordering(stack, lastsMs), updatingWithStart(stack, lastsMs)],
        context,
      );
      const ratio = (figure: string, goal: { atLeast?: number; below?: number }) =>
        ratioOf(sides, 'order', 'bare-update-with-start', figure, { kind: 'limit', goal });
      return {
        sides,
        ratios: [ratio('orders/s at 32', { atLeast: 0.8 }), ratio('p50 ms at 1', { below: 1.5 })],
        targets: [],
        remarks: [],
      };
    } finally {
      await bareWorker.end();
      await stack.stop();
    }
  },
};

async function ordering(stack: Stack, lastsMs: number): Promise<Contestant> {
  const productIds = await registerProducts(stack, productCount);
  let asked = 0;
  let ordered = 0;
  const ask = async (): Promise<void> => {
    const productId = productIds[asked++ % productIds.length]!;
    await askForOrder(stack, productId);
    ordered += 1;
  };
  return {
    name: 'order',
    what: `HTTP, update-with-start, PostgreSQL, the payment simulator, publication to Kafka; ${productCount} products in turn`,
    async measure() {
      const orderedBefore = ordered;
      const figures = await measuringProcessorTime(
        'order',
        () => atEachCount(lastsMs, ask, () => untilPublished(stack)),
        () => ordered - orderedBefore,
      );
      const { rows } = await stack.pool.query<{ taken: number }>(
        'SELECT sum($1 - stock)::int AS taken FROM commerce.products',
        [unitsInStock],
      );
      const { taken } = rows[0]!;
      if (taken !== ordered) throw new Error(`${ordered} orders took ${taken} units.`);
      return figures;
    },
  };
}

/** Orders one of a product, and returns when it is decided. @throws unless it is confirmed */
export async function askForOrder(stack: Stack, productId: string): Promise<void> {
  const status = await placeOrder(stack, productId);
  if (status !== 201) throw new Error(`An order was answered with ${status}.`);
}

/** Orders one of a product. @returns the status of the answer */
export async function placeOrder(stack: Stack, productId: string): Promise<number> {
  const { status } = await stack.call('POST', '/v1/orders', {
    as: 'shopper',
    userId: 'user-1',
    idempotencyKey: randomUUID(),
    body: { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' },
  });
  return status;
}

/** Registers so many products, each with more units than are ever ordered. @returns their IDs */
export async function registerProducts(stack: Stack, count: number): Promise<readonly string[]> {
  const productIds: string[] = [];
  while (productIds.length < count) {
    const body = { name: 'a lamp', price: 100, stock: unitsInStock };
    const { body: product } = await stack.call('POST', '/v1/products', { body });
    productIds.push((product as { productId: string }).productId);
  }
  return productIds;
}

/** Waits until every event is in Kafka: the rest would distort the next measurement. */
export async function untilPublished({ pool }: Stack): Promise<void> {
  await until(
    'everything is published',
    async () => {
      const { rows } = await pool.query(
        'SELECT FROM commerce.outbox WHERE published_at IS NULL LIMIT 1',
      );
      return rows.length === 0;
    },
    { timeoutMs: 120_000, pollMs: 200 },
  );
}

function updatingWithStart({ temporal }: Stack, lastsMs: number): Contestant {
  let decided = 0;
  const ask = async (): Promise<void> => {
    const startWorkflowOperation = new WithStartWorkflowOperation('asManyTasksAsAnOrder', {
      taskQueue: 'bare',
      workflowId: randomUUID(),
      workflowIdConflictPolicy: 'USE_EXISTING',
      args: [],
    });
    await temporal.workflow.executeUpdateWithStart('decision', { startWorkflowOperation });
    decided += 1;
  };
  const untilFinished = async (): Promise<void> => {
    await until(
      'every bare workflow has finished',
      async () => {
        const query = `ExecutionStatus = 'Running' AND TaskQueue = 'bare'`;
        return (await temporal.workflow.count(query)).count === 0;
      },
      { timeoutMs: 120_000, pollMs: 500 },
    );
  };
  return {
    name: 'bare-update-with-start',
    what: 'a workflow with as many tasks and activities, all of them empty, without HTTP',
    measure: () => {
      const decidedBefore = decided;
      return measuringProcessorTime(
        'order',
        () => atEachCount(lastsMs, ask, untilFinished),
        () => decided - decidedBefore,
      );
    },
  };
}

async function atEachCount(
  lastsMs: number,
  ask: () => Promise<void>,
  settle: () => Promise<void>,
): Promise<Record<string, number>> {
  const figures: Record<string, number> = {};
  await closedLoop(8, Math.min(lastsMs, 2_000), ask);
  for (const clients of clientCounts) {
    await settle();
    const { rate, p50, p99 } = await closedLoop(clients, lastsMs, ask);
    figures[`orders/s at ${clients}`] = rate;
    figures[`p50 ms at ${clients}`] = p50;
    figures[`p99 ms at ${clients}`] = p99;
  }
  await settle();
  return figures;
}
