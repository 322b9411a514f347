/** `overload`: what gets through of a mix of changes at three times the capacity, compared with the capacity. */
import { randomUUID } from 'node:crypto';
import { createStack, type Stack } from '../../testkit/stack';
import { closedLoop } from '../closed-loop';
import { sendAtRate } from '../open-loop';
import { inTurn, percentile, ratioOf, type Contestant, type Suite } from '../suite';
import { registerProducts, untilPublished } from './order';

/** As many as keep the shop's worker busy without waiting for long. */
const clientsAtCapacity = 16;
const times = 3;
const durationMs = 30_000;

export const overload: Suite = {
  name: 'overload',
  about: `likes, stock changes and orders in equal parts: ${clientsAtCapacity} clients, then ${times} times the rate that they reached`,
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api'], {
      // One key asks for all of it.
      API_CHANGES_PER_SECOND: '100000',
    });
    try {
      const ask = changesOf(stack, await registerProducts(stack, 100));
      const lastsMs = durationMs * context.scale;
      const capacity = { perSecond: 0 };
      const sides = await inTurn(
        [
          atCapacity(stack, ask, lastsMs, (perSecond) => (capacity.perSecond = perSecond)),
          beyondCapacity(stack, ask, lastsMs, () => capacity.perSecond * times),
        ],
        context,
      );
      return {
        sides,
        ratios: [
          ratioOf(sides, 'overload', 'capacity', 'accepted/s', {
            kind: 'limit',
            goal: { atLeast: 0.8 },
          }),
        ],
        targets: [],
        remarks: ['A change counts when its answer says that it is done: 200 or 201.'],
      };
    } finally {
      await stack.stop();
    }
  },
};

/** Makes the next change, and returns the status of its answer. */
type Ask = () => Promise<number>;

function changesOf(stack: Stack, productIds: readonly string[]): Ask {
  let asked = 0;
  const statusOf = async (
    method: 'PUT' | 'POST',
    path: string,
    more: Parameters<Stack['call']>[2],
  ) => (await stack.call(method, path, { idempotencyKey: randomUUID(), ...more })).status;
  return () => {
    asked += 1;
    const productId = productIds[asked % productIds.length]!;
    const shopper = { as: 'shopper', userId: `user-${asked}` } as const;
    switch (asked % 3) {
      case 0:
        return statusOf('PUT', `/v1/products/${productId}/like`, shopper);
      case 1:
        return statusOf('POST', `/v1/products/${productId}/stock-adjustments`, {
          body: { delta: 1, reason: 'restock' },
        });
      default:
        return statusOf('POST', '/v1/orders', {
          ...shopper,
          body: { items: [{ productId, quantity: 1 }], paymentToken: 'tok_approve' },
        });
    }
  };
}

function atCapacity(
  stack: Stack,
  ask: Ask,
  lastsMs: number,
  onMeasured: (perSecond: number) => void,
): Contestant {
  return {
    name: 'capacity',
    what: `${clientsAtCapacity} clients, each with its next change as soon as it has its answer`,
    async measure() {
      const { rate, p50, p99 } = await closedLoop(clientsAtCapacity, lastsMs, async () => {
        const status = await ask();
        if (status >= 300) throw new Error(`A change was answered with ${status}.`);
      });
      await untilPublished(stack);
      onMeasured(rate);
      return { 'accepted/s': rate, 'p50 ms': p50, 'p99 ms': p99 };
    },
  };
}

function beyondCapacity(
  stack: Stack,
  ask: Ask,
  lastsMs: number,
  perSecond: () => number,
): Contestant {
  return {
    name: 'overload',
    what: `changes at ${times} times that rate, whether or not those before are answered`,
    async measure() {
      const answers: { readonly status: number; readonly latencyMs: number }[] = [];
      const load = { perSecond: perSecond(), count: Math.round((perSecond() * lastsMs) / 1_000) };
      const from = performance.now();
      await sendAtRate(load, (dueTimes) =>
        Promise.all(
          dueTimes.map(async (dueAt) => {
            const status = await ask();
            answers.push({ status, latencyMs: Date.now() - dueAt });
          }),
        ),
      );
      const seconds = (performance.now() - from) / 1_000;
      await untilPublished(stack);
      const latenciesOf = (isOfThem: (status: number) => boolean): number[] =>
        answers.filter(({ status }) => isOfThem(status)).map(({ latencyMs }) => latencyMs);
      const accepted = latenciesOf((status) => status < 202);
      const refused = latenciesOf((status) => status === 503);
      return {
        'accepted/s': accepted.length / seconds,
        'accepted p50 ms': percentile(accepted, 50),
        'accepted p99 ms': percentile(accepted, 99),
        'refused/s': refused.length / seconds,
        ...(refused.length === 0 ? {} : { 'refused p99 ms': percentile(refused, 99) }),
        // 202: an order that is decided later.
        'later/s': latenciesOf((status) => status === 202).length / seconds,
      };
    },
  };
}
