/** `per-event`: what one workflow for each event costs, beside a workflow that does nothing. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createStack, type Stack } from '../../test/integration/stack';
import { startInBackground, type Background } from '../background';
import { startAtEnd } from '../consuming';
import { emptyCollector, inTurn, ratioOf, type Contestant, type Suite } from '../suite';
import { drainBacklog } from './catch-up';

const eventCount = 1_500;
const warmUpCount = 200;

/** As many as the bridge lets be under way. */
const maxInFlight = 200;

/** `per-event`. */
export const perEvent: Suite = {
  name: 'per-event',
  about: 'one workflow for each event, with every effect in PostgreSQL and Redis',
  async run(context) {
    const stack = await createStack(['worker:collector']);
    const bareWorker = await startInBackground('bare/worker.ts', '"msg":"worker is running"', {
      ...stack.environment,
    });
    try {
      const count = Math.round(eventCount * context.scale);
      const sides = await inTurn(
        [handlingEach(stack, count), bare(stack, bareWorker, count)],
        context,
      );
      const goal = { atLeast: 0.9 };
      return {
        sides,
        ratios: [ratioOf(sides, 'per-event', 'bare-workflow', 'events/s', { kind: 'limit', goal })],
        targets: [],
        remarks: [],
      };
    } finally {
      await bareWorker.end();
      await stack.stop();
    }
  },
};

/** The pipeline's own collector: a workflow for each event. */
export function handlingEach(stack: Stack, count: number): Contestant {
  return {
    name: 'per-event',
    what: 'Kafka, bridge with BRIDGE_MODE=per-event, Temporal, one worker, PostgreSQL, Redis',
    async measure() {
      await emptyCollector(stack);
      const bridge = await stack.start('bridge', await startAtEnd(stack));
      try {
        return await drainBacklog(stack, count, warmUpCount);
      } finally {
        await bridge.end();
      }
    },
  };
}

function bare({ temporal }: Stack, worker: Background, count: number): Contestant {
  const start = () =>
    temporal.workflow.start('oneLocalActivity', {
      taskQueue: 'bare',
      workflowId: randomUUID(),
      args: [],
    });
  const run = async (size: number): Promise<number> => {
    const doneBefore = worker.done();
    const from = performance.now();
    let started = 0;
    const starting = async (): Promise<void> => {
      while (started < size) {
        if (started - (worker.done() - doneBefore) >= maxInFlight) {
          await sleep(5);
          continue;
        }
        started += 1;
        await start();
      }
    };
    await Promise.all(Array.from({ length: 50 }, starting));
    while (worker.done() - doneBefore < size) await sleep(5);
    return size / ((performance.now() - from) / 1_000);
  };
  return {
    name: 'bare-workflow',
    what: 'a workflow for each item with one empty local activity, on the same Temporal server',
    async measure() {
      await run(warmUpCount);
      return { 'events/s': await run(count) };
    },
  };
}
