/** `sandbox`: the lean workflow sandbox, compared with Temporal's own. */
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { closedLoop } from '../closed-loop';
import { startAtEnd } from '../consuming';
import { measuringProcessorTime } from '../processor-time';
import { emptyCollector, inTurn, ratioOf, type Contestant, type Suite } from '../suite';
import { drainBacklog } from './catch-up';
import { askForOrder, registerProducts, untilPublished } from './order';

type Sandbox = 'lean' | 'standard';

const sandboxes = ['lean', 'standard'] as const;
const clients = 32;
const durationMs = 8_000;
const warmUpMs = 2_000;
const productCount = 100;
const eventCount = 1_000;
const warmUpCount = 200;

export const sandbox: Suite = {
  name: 'sandbox',
  about: "both workers with WORKFLOW_SANDBOX=lean and with Temporal's own sandbox",
  async run(context) {
    const stack = await createStack(['api']);
    try {
      const sides = await inTurn(
        sandboxes.flatMap((each) => [
          ordering(stack, each, context.scale),
          handling(stack, each, context.scale),
        ]),
        context,
      );
      const ratio = (what: string, figure: string, goal?: { atLeast: number }) =>
        ratioOf(sides, `${what}, lean`, `${what}, standard`, figure, {
          kind: 'alternative',
          ...(goal === undefined ? {} : { goal }),
        });
      const goal = { atLeast: 1.1 };
      return {
        sides,
        ratios: [
          ratio('orders', 'orders/s', goal),
          ratio('orders', 'CPU ms of worker:commerce for each order'),
          ratio('events', 'events/s', goal),
          ratio('events', 'CPU ms of worker:collector for each event'),
        ],
        targets: [],
        remarks: [],
      };
    } finally {
      await stack.stop();
    }
  },
};

function ordering(stack: Stack, each: Sandbox, scale: number): Contestant {
  return {
    name: `orders, ${each}`,
    what: `POST /v1/orders until it is decided, ${clients} clients, ${productCount} products in turn, a worker with WORKFLOW_SANDBOX=${each}`,
    measure: () =>
      withProcesses(stack, ['worker:commerce'], { WORKFLOW_SANDBOX: each }, async () => {
        const productIds = await registerProducts(stack, productCount);
        let ordered = 0;
        const ask = (): Promise<void> =>
          askForOrder(stack, productIds[ordered++ % productIds.length]!);
        await closedLoop(clients, warmUpMs, ask);
        await untilPublished(stack);
        const orderedBefore = ordered;
        return measuringProcessorTime(
          'order',
          async () => {
            const { rate, p50, p99 } = await closedLoop(clients, durationMs * scale, ask);
            await untilPublished(stack);
            return { 'orders/s': rate, 'p50 ms': p50, 'p99 ms': p99 };
          },
          () => ordered - orderedBefore,
        );
      }),
  };
}

function handling(stack: Stack, each: Sandbox, scale: number): Contestant {
  const count = Math.round(eventCount * scale);
  return {
    name: `events, ${each}`,
    what: `bridge with BRIDGE_MODE=per-event, and a worker with WORKFLOW_SANDBOX=${each}`,
    async measure() {
      await emptyCollector(stack);
      const environment = { ...(await startAtEnd(stack)), WORKFLOW_SANDBOX: each };
      return withProcesses(stack, ['worker:collector', 'bridge'], environment, () =>
        drainBacklog(stack, count, warmUpCount, (work) =>
          measuringProcessorTime('event', work, () => count),
        ),
      );
    },
  };
}

async function withProcesses<T>(
  stack: Stack,
  names: readonly ProcessName[],
  environment: Readonly<Record<string, string>>,
  work: () => Promise<T>,
): Promise<T> {
  const started = await Promise.all(names.map((name) => stack.start(name, environment)));
  try {
    return await work();
  } finally {
    await Promise.all(started.map((one) => one.end()));
  }
}
