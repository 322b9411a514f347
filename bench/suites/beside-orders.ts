/** `beside-orders`: what an order waits while the collector works off a backlog on the same Temporal. */
import { createStack, type Stack } from '../../testkit/stack';
import { pollUntil } from '../../platform/process/waiting';
import { until } from '../../testkit/until';
import { createBacklog, type Backlog } from '../backlog';
import { closedLoop } from '../closed-loop';
import { startAtEnd } from '../consuming';
import { emptyCollector, inTurn, ratioOf, type Contestant, type Suite } from '../suite';
import { askForOrder, registerProducts, untilPublished } from './order';

const durationMs = 12_000;
const backlogCount = 20_000;

const modes = ['coalesce', 'per-event'] as const;

/** More than are handled in a round. */
const backlogsOf = { coalesce: 12, 'per-event': 2 } as const;

export const besideOrders: Suite = {
  name: 'beside-orders',
  about: `POST /v1/orders until it is decided, one after the other, beside a backlog of ${backlogCount} events`,
  async run(context) {
    const stack = await createStack(['worker:commerce', 'api', 'worker:collector']);
    try {
      const productIds = await registerProducts(stack, 20);
      const lastsMs = durationMs * context.scale;
      const sides = await inTurn(
        [
          ordersAlone(stack, productIds, lastsMs),
          ...modes.map((mode) => ordersBesideBacklog(stack, productIds, lastsMs, mode)),
        ],
        context,
      );
      return {
        sides,
        ratios: modes.map((mode) =>
          ratioOf(sides, mode, 'no-backlog', 'p50 ms', {
            kind: 'alternative',
            goal: { below: 1.5 },
          }),
        ),
        targets: [],
        remarks: [
          'The backlog is filled again whenever half of it is handled, and what is left of it after the orders is dropped.',
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

function ordersAlone(stack: Stack, productIds: readonly string[], lastsMs: number): Contestant {
  return {
    name: 'no-backlog',
    what: 'API and worker of the shop; the collector has nothing to do',
    measure: () => orderInTurn(stack, productIds, lastsMs),
  };
}

function ordersBesideBacklog(
  stack: Stack,
  productIds: readonly string[],
  lastsMs: number,
  mode: (typeof modes)[number],
): Contestant {
  return {
    name: mode,
    what: `the same, and a bridge with BRIDGE_MODE=${mode} that has a backlog all the time`,
    async measure() {
      await emptyCollector(stack);
      const backlogs = Array.from({ length: backlogsOf[mode] }, () => createBacklog(backlogCount));
      const bridge = await stack.start('bridge', {
        ...(await startAtEnd(stack)),
        BRIDGE_MODE: mode,
      });
      const refilling = keepBacklog(stack, backlogs);
      try {
        await until('the backlog is being handled', async () => (await countHandled(stack)) > 0);
        const [handledBefore, from] = [await countHandled(stack), performance.now()];
        const figures = await orderInTurn(stack, productIds, lastsMs);
        const seconds = (performance.now() - from) / 1_000;
        const handled = (await countHandled(stack)) - handledBefore;
        return { ...figures, 'events/s beside': handled / seconds };
      } finally {
        await refilling.stop();
        await bridge.end();
      }
    },
  };
}

async function orderInTurn(
  stack: Stack,
  productIds: readonly string[],
  lastsMs: number,
): Promise<Record<string, number>> {
  let asked = 0;
  const { p50, p99 } = await closedLoop(1, lastsMs, () =>
    askForOrder(stack, productIds[(asked += 1) % productIds.length]!),
  );
  await untilPublished(stack);
  return { 'p50 ms': p50, 'p99 ms': p99 };
}

/** Sends a backlog, and the next whenever half of it is handled. They are made before: that blocks. */
function keepBacklog(stack: Stack, backlogs: readonly Backlog[]): { stop(): Promise<void> } {
  const stopping = new AbortController();
  const refill = async (): Promise<void> => {
    let sent = 0;
    for (const backlog of backlogs) {
      if (stopping.signal.aborted) return;
      await backlog.send(stack.kafka);
      sent += backlog.count;
      await pollUntil(
        async () =>
          stopping.signal.aborted || sent - (await countHandled(stack)) < backlog.count / 2,
        { timeoutMs: 600_000, pollMs: 200 },
      );
    }
    if (!stopping.signal.aborted) throw new Error('The backlogs ended before the orders did.');
  };
  const refilling = refill();
  // Rejections are looked at in the end.
  refilling.catch(() => undefined);
  return {
    async stop() {
      stopping.abort();
      await refilling;
    },
  };
}

async function countHandled({ pool }: Stack): Promise<number> {
  const { rows } = await pool.query<{ handled: string }>(
    'SELECT count(*) AS handled FROM collector.event_handled',
  );
  return Number(rows[0]!.handled);
}
