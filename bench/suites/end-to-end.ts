/** `end-to-end`: latency from the HTTP response to the effect in the metrics. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { closedLoop } from '../closed-loop';
import { startConsuming } from '../consuming';
import { inTurn, percentile, type Contestant, type Suite } from '../suite';

const lightRate = 5;
const durationMs = 15_000;
const capacityMs = 4_000;
const productCount = 16;
const pollMs = 4;
const patienceMs = 60_000;

/** The ways to run the collector's side. */
const ways = [
  { name: 'per-event', mode: 'per-event', processes: ['worker:collector', 'bridge'] },
  { name: 'coalesce', mode: 'coalesce', processes: ['worker:collector', 'bridge'] },
  { name: 'per-event, one process', mode: 'per-event', processes: ['collector'] },
] as const satisfies readonly { name: string; mode: string; processes: readonly ProcessName[] }[];

export const endToEnd: Suite = {
  name: 'end-to-end',
  about: 'from the HTTP answer of a stock adjustment to its effect in product_metrics',
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api']);
    try {
      const products = await registerProducts(stack);
      const sides = await inTurn(
        ways.map((way) => measuring(stack, way, products, context.scale)),
        context,
      );
      return {
        sides,
        ratios: [],
        targets: sides.flatMap(({ name: side }) => [
          { side, figure: 'p50 ms, light', goal: { below: 100 } },
          { side, figure: 'p99 ms, light', goal: { below: 500 } },
        ]),
        remarks: [
          `light: ${lightRate} adjustments/s; half: half of what ${productCount} clients get through the API alone`,
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

async function registerProducts(stack: Stack): Promise<string[]> {
  const products: string[] = [];
  for (let index = 0; index < productCount; index += 1) {
    const body = { name: `product ${index}`, price: 100, stock: 10 };
    const answer = await stack.call('POST', '/v1/products', { body });
    products.push((answer.body as { productId: string }).productId);
  }
  return products;
}

function measuring(
  stack: Stack,
  { name, mode, processes }: (typeof ways)[number],
  products: readonly string[],
  scale: number,
): Contestant {
  return {
    name,
    what: `API, worker, Kafka, bridge with BRIDGE_MODE=${mode}, ${processes.length === 1 ? 'worker in the same process' : 'worker'}`,
    async measure() {
      const collector = await startConsuming(stack, processes, { BRIDGE_MODE: mode });
      try {
        let next = 0;
        const adjust = () => adjustStock(stack, products[(next += 1) % products.length]!);
        const { rate: capacity } = await closedLoop(productCount, capacityMs * scale, async () => {
          await adjust();
        });
        await new Effects(stack).untilSeen(await adjust());
        const light = await atRate(stack, lightRate, durationMs * scale, adjust);
        const half = await atRate(stack, capacity / 2, durationMs * scale, adjust);
        return {
          'p50 ms, light': percentile(light, 50),
          'p99 ms, light': percentile(light, 99),
          'adjustments/s, capacity': capacity,
          'p50 ms, half': percentile(half, 50),
          'p99 ms, half': percentile(half, 99),
        };
      } finally {
        await collector.end();
      }
    },
  };
}

/** An adjustment that was answered. */
interface Answered {
  readonly productId: string;
  readonly version: number;
  /** By `performance.now()`. */
  readonly at: number;
}

async function adjustStock(stack: Stack, productId: string): Promise<Answered> {
  const route = `/v1/products/${productId}/stock-adjustments`;
  const body = { delta: 1, reason: 'restock' };
  const { status, body: answer } = await stack.call('POST', route, { body });
  if (status !== 201) throw new Error(`An adjustment was answered with ${status}.`);
  return { productId, version: (answer as { version: number }).version, at: performance.now() };
}

/**
 * Adjusts at a constant rate, independent of the response times. @returns from answer to effect,
 * each in ms
 */
async function atRate(
  stack: Stack,
  perSecond: number,
  forMs: number,
  adjust: () => Promise<Answered>,
): Promise<number[]> {
  const effects = new Effects(stack);
  const count = Math.max(1, Math.round((perSecond * forMs) / 1_000));
  const waiting: Promise<number>[] = [];
  const from = performance.now();
  for (let index = 0; index < count; index += 1) {
    await sleep(Math.max(0, from + (index * 1_000) / perSecond - performance.now()));
    waiting.push(adjust().then((answered) => effects.untilSeen(answered)));
  }
  return Promise.all(waiting);
}

/** Polls for effects, with one query for all that are awaited. */
class Effects {
  private waiting: (Answered & { seen(latencyMs: number): void; fail(error: Error): void })[] = [];
  private looking = false;

  constructor(private readonly stack: Stack) {}

  /** @returns how long after the answer the effect was seen, in ms, to about {@link pollMs} */
  untilSeen(answered: Answered): Promise<number> {
    return new Promise((seen, fail) => {
      this.waiting.push({ ...answered, seen, fail });
      if (!this.looking) void this.look();
    });
  }

  private async look(): Promise<void> {
    this.looking = true;
    while (this.waiting.length > 0) {
      const { rows } = await this.stack.pool.query<{ product_id: string; stock_version: string }>(
        'SELECT product_id, stock_version FROM collector.product_metrics',
      );
      const now = performance.now();
      const versions = new Map(rows.map((row) => [row.product_id, Number(row.stock_version)]));
      this.waiting = this.waiting.filter(({ productId, version, at, seen, fail }) => {
        if ((versions.get(productId) ?? 0) >= version) seen(now - at);
        else if (now - at > patienceMs) fail(new Error(`${productId}: no effect in a minute.`));
        else return true;
        return false;
      });
      await sleep(pollMs);
    }
    this.looking = false;
  }
}
