/** `per-event`: the cost of one workflow per event, compared with an empty workflow. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createStack, type ProcessName, type Stack } from '../../testkit/stack';
import { startInBackground, type Background } from '../background';
import { startConsuming } from '../consuming';
import { emptyCollector, inTurn, ratioOf, type Contestant, type Suite } from '../suite';
import { drainBacklog } from './catch-up';

const eventCount = 1_200;
const warmUpCount = 200;

/** The bridge's limit of workflows in flight. */
const maxInFlight = 200;

export const perEvent: Suite = {
  name: 'per-event',
  about: 'one workflow for each event, with every effect in PostgreSQL and Redis',
  async run(context) {
    const stack = await createStack([]);
    const bareWorker = await startInBackground('bare/worker.ts', {
      ...stack.environment,
    });
    try {
      const count = Math.round(eventCount * context.scale);
      const sides = await inTurn(
        [
          handlingEach(stack, count, twoProcesses),
          handlingEach(stack, count, oneProcess),
          bare(stack, bareWorker, count),
        ],
        context,
      );
      const goal = { atLeast: 0.9 };
      return {
        sides,
        ratios: [
          ratioOf(sides, 'per-event', 'bare-workflow', 'events/s', { kind: 'limit', goal }),
          ratioOf(sides, 'one-process', 'per-event', 'events/s', { kind: 'alternative' }),
        ],
        targets: [],
        remarks: [],
      };
    } finally {
      await bareWorker.end();
      await stack.stop();
    }
  },
};

/** How the collector's side runs. */
interface Arrangement {
  readonly name: string;
  readonly what: string;
  /** Started before a measurement, and stopped after it. */
  readonly processes: readonly ProcessName[];
}

const twoProcesses: Arrangement = {
  name: 'per-event',
  what: 'Kafka, bridge with BRIDGE_MODE=per-event, Temporal, one worker, PostgreSQL, Redis',
  processes: ['worker:collector', 'bridge'],
};

const oneProcess: Arrangement = {
  name: 'one-process',
  what: 'the same, bridge and worker in one process: `npm run collector`',
  processes: ['collector'],
};

/** The bridge of a worker that is already running. */
const bridgeAlone: Arrangement = { ...twoProcesses, processes: ['bridge'] };

/** The pipeline's own collector: a workflow for each event. */
export function handlingEach(
  stack: Stack,
  count: number,
  { name, what, processes }: Arrangement = bridgeAlone,
): Contestant {
  return {
    name,
    what,
    async measure() {
      await emptyCollector(stack);
      const consuming = await startConsuming(stack, processes);
      try {
        return await drainBacklog(stack, count, warmUpCount);
      } finally {
        await consuming.end();
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
