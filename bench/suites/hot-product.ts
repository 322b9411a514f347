/** `hot-product`: orders of one product by many shoppers at once, compared with orders of a hundred. */
import { createStack, type Stack } from '../../testkit/stack';
import { closedLoop } from '../closed-loop';
import { inTurn, ratioOf, type Contestant, type Suite } from '../suite';
import { placeOrder, registerProducts, untilPublished } from './order';

const shoppers = 200;
const durationMs = 10_000;

export const hotProduct: Suite = {
  name: 'hot-product',
  about: `POST /v1/orders by ${shoppers} shoppers at once, with stock for all, of one product and of a hundred`,
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api'], {
      // So that each of them waits for the decision: by default the API refuses what is beyond 112.
      API_MAX_CHANGES: String(shoppers * 2),
    });
    try {
      const productIds = await registerProducts(stack, 100);
      const lastsMs = durationMs * context.scale;
      const sides = await inTurn(
        [
          ordering(stack, 'one-product', productIds.slice(0, 1), lastsMs),
          ordering(stack, 'hundred-products', productIds, lastsMs),
        ],
        context,
      );
      return {
        sides,
        ratios: [
          ratioOf(sides, 'one-product', 'hundred-products', 'orders/s', {
            kind: 'alternative',
            goal: { atLeast: 0.5 },
          }),
        ],
        targets: [],
        remarks: [],
      };
    } finally {
      await stack.stop();
    }
  },
};

function ordering(
  stack: Stack,
  name: string,
  productIds: readonly string[],
  lastsMs: number,
): Contestant {
  let asked = 0;
  const what = `${shoppers} shoppers, each with its next order as soon as the last is decided`;
  return {
    name,
    what,
    async measure() {
      let later = 0;
      const { rate, p50, p99 } = await closedLoop(shoppers, lastsMs, async () => {
        const status = await placeOrder(stack, productIds[(asked += 1) % productIds.length]!);
        if (status === 202) later += 1;
        else if (status !== 201) throw new Error(`An order was answered with ${status}.`);
      });
      await untilPublished(stack);
      // With so many shoppers some wait for longer than ten seconds: 202, decided later.
      return { 'orders/s': rate, 'p50 ms': p50, 'p99 ms': p99, 'answered with 202': later };
    },
  };
}
