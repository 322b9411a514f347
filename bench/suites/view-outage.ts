/**
 * `view-outage`: the effect of a Kafka outage on the latency of product reads, which emit views.
 */
import { readdir } from 'node:fs/promises';
import autocannon from 'autocannon';
import { createStack, type Stack } from '../../testkit/stack';
import { until } from '../../testkit/until';
import { inTurn, median, type Contestant, type Suite } from '../suite';

const durationSeconds = 10;
const readsPerSecond = 200;
const connections = 8;

export const viewOutage: Suite = {
  name: 'view-outage',
  about: `GET /v1/products/{id} at ${readsPerSecond} reads/s, with Kafka and without`,
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api']);
    try {
      const body = { name: 'a lamp', price: 100, stock: 5 };
      const { body: product } = await stack.call('POST', '/v1/products', { body });
      const route = `/v1/products/${(product as { productId: string }).productId}`;
      const seconds = Math.max(2, Math.round(durationSeconds * context.scale));
      const read = () => readSteadily(stack.apiUrl() + route, seconds);
      const contestants: Contestant[] = [
        { name: 'kafka-up', what: 'views go to Kafka directly', measure: read },
        {
          name: 'kafka-away',
          what: 'views stay in the spool and are published later',
          measure: () => whileAway(stack, read),
        },
      ];
      const sides = await inTurn(contestants, context);
      const figure = 'p99 ms';
      const [up, away] = sides.map(({ figures }) => figures[figure]!);
      const growth = away!.map((value, round) => value - up![round]!);
      return {
        sides: [...sides, { name: 'growth', what: 'away less up', figures: { [figure]: growth } }],
        ratios: [],
        targets: [{ side: 'growth', figure, goal: { below: 5 } }],
        remarks: [`the p99 grows by ${median(growth).toFixed(2)} ms without Kafka`],
      };
    } finally {
      await stack.stop();
    }
  },
};

async function whileAway<T>(stack: Stack, work: () => Promise<T>): Promise<T> {
  await stack.cluster.stop('kafka');
  try {
    return await work();
  } finally {
    await stack.cluster.start('kafka');
    await untilViewsArrive(stack);
  }
}

// What this round leaves behind must not distort the next.
async function untilViewsArrive({ config }: Stack): Promise<void> {
  await until(
    'the views that waited are published',
    async () => (await readdir(config.VIEW_SPOOL_DIR)).length === 0,
    { timeoutMs: 120_000, pollMs: 500 },
  );
}

async function readSteadily(url: string, duration: number): Promise<Record<string, number>> {
  const headers = { authorization: 'Bearer dev-shopper-key', 'x-user-id': 'user-1' };
  const { latency, requests, non2xx, errors } = await autocannon({
    url,
    headers,
    connections,
    duration,
    overallRate: readsPerSecond,
  });
  if (non2xx > 0 || errors > 0) throw new Error(`${non2xx} refused and ${errors} failed reads.`);
  return { 'p50 ms': latency.p50, 'p99 ms': latency.p99, 'reads/s': requests.average };
}
