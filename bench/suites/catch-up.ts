/** `catch-up`: the rate at which a backlog is consumed. */
import { createStack, type Stack } from '../../testkit/stack';
import { startInBackground } from '../background';
import { checkEffects, createBacklog, type Backlog } from '../backlog';
import { databaseTime, startAtEnd, untilHandled } from '../consuming';
import { emptyCollector, inTurn, ratioOf, type Contestant, type Suite } from '../suite';

const eventCount = 50_000;
const warmUpCount = 5_000;

export const catchUp: Suite = {
  name: 'catch-up',
  about: 'a backlog of events of every type, with every effect in PostgreSQL and Redis',
  async run(context) {
    const stack = await createStack(['worker:collector']);
    try {
      const count = Math.round(eventCount * context.scale);
      const sides = await inTurn(
        [coalescing(stack, count), plain(stack, count, 'event'), plain(stack, count, 'batch')],
        context,
      );
      return {
        sides,
        ratios: [
          ratioOf(sides, 'coalesce', 'plain-batch', 'events/s', {
            kind: 'limit',
            goal: { atLeast: 0.6 },
          }),
          ratioOf(sides, 'coalesce', 'plain-event', 'events/s', {
            kind: 'alternative',
            goal: { atLeast: 5 },
          }),
        ],
        targets: [{ side: 'coalesce', figure: 'events/s', goal: { atLeast: 20_000 } }],
        remarks: [],
      };
    } finally {
      await stack.stop();
    }
  },
};

/** The pipeline's own collector: bridge, Temporal and worker, with batches. */
export function coalescing(stack: Stack, count: number): Contestant {
  return {
    name: 'coalesce',
    what: 'bridge with BRIDGE_MODE=coalesce, Temporal, one worker',
    async measure() {
      await emptyCollector(stack);
      const environment = await startAtEnd(stack);
      const bridge = await stack.start('bridge', { ...environment, BRIDGE_MODE: 'coalesce' });
      try {
        return await drainBacklog(stack, count);
      } finally {
        await bridge.end();
      }
    },
  };
}

function plain(stack: Stack, count: number, size: 'event' | 'batch'): Contestant {
  return {
    name: `plain-${size}`,
    what: `a plain kafkajs consumer with the same statements, one transaction for ${
      size === 'event' ? 'each event' : 'up to 500 events'
    }, without Temporal`,
    async measure() {
      await emptyCollector(stack);
      const consumer = await startInBackground('bare/plain-consumer.ts', {
        ...stack.environment,
        ...(await startAtEnd(stack)),
        PLAIN_CONSUMER: size,
        LOG_LEVEL: 'info',
      });
      try {
        return await drainBacklog(stack, count);
      } finally {
        await consumer.end();
      }
    },
  };
}

/**
 * Warms up with a small backlog, then measures a large one.
 *
 * @param measuring wraps the measured work, and may add figures of its own
 */
export async function drainBacklog(
  stack: Stack,
  count: number,
  warmUp = warmUpCount,
  measuring: (work: () => Promise<Rate>) => Promise<Record<string, number>> = (work) => work(),
): Promise<Record<string, number>> {
  const [small, large] = [createBacklog(warmUp), createBacklog(count)];
  await drain(stack, small, small.count);
  const figures = await measuring(() => drain(stack, large, small.count + large.count));
  await checkEffects(stack, [small, large]);
  return figures;
}

type Rate = Record<'events/s', number>;

async function drain(stack: Stack, backlog: Backlog, handled: number): Promise<Rate> {
  await backlog.send(stack.kafka);
  const since = await databaseTime(stack);
  return { 'events/s': backlog.count / (await untilHandled(stack, handled, since)) };
}
