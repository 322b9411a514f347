/** `round-trips`: the requests of an event and of an order to PostgreSQL and Temporal. */
import path from 'node:path';
import {
  createStack,
  type ProcessName,
  type RunningProcess,
  type Stack,
} from '../../testkit/stack';
import { until } from '../../testkit/until';
import { registerProduct } from '../../events/commands/register-product';
import { workflowTypes } from '../../events/workflow-names';
import { createBacklog } from '../backlog';
import { databaseTime, startAtEnd, untilHandled } from '../consuming';
import { readCounter } from '../scrape';
import { emptyCollector, inTurn, type Contestant, type Suite } from '../suite';
import { askForOrder, registerProducts, untilPublished } from './order';

/** One by one, and enough for several batches per partition. */
const modes = {
  'per-event': { name: 'an event, per-event', count: 200, eventsAnItem: 1 },
  coalesce: { name: 'a thousand events, coalesce', count: 20_000, eventsAnItem: 1_000 },
} as const;
const orderCount = 60;

const root = path.join(__dirname, '..', '..');

export const roundTrips: Suite = {
  name: 'round-trips',
  about: 'statements, requests to Temporal and history events for each event and each order',
  async run(context) {
    const stack = await createStack([], {
      NODE_OPTIONS: `--require ${path.join(root, 'typescript.cjs')} --require ${path.join(__dirname, '..', 'counting-statements.ts')}`,
    });
    try {
      const sides = await inTurn(
        [
          handling(stack, 'per-event', context.scale),
          handling(stack, 'coalesce', context.scale),
          ordering(stack, context.scale),
        ],
        context,
      );
      return {
        sides,
        ratios: [],
        targets: [],
        remarks: [
          'Requests to Temporal are those of workers, with their waits for tasks. Besides them the bridge makes one for each workflow, and the API one for each order.',
          'History events are those of every workflow that the work started. An order is counted until its events are in Kafka.',
        ],
      };
    } finally {
      await stack.stop();
    }
  },
};

function handling(stack: Stack, mode: keyof typeof modes, scale: number): Contestant {
  const { name, count, eventsAnItem } = modes[mode];
  return {
    name,
    what: `bridge with BRIDGE_MODE=${mode} and worker, with a backlog of ${count} events`,
    async measure() {
      await emptyCollector(stack);
      const environment = { ...(await startAtEnd(stack)), BRIDGE_MODE: mode };
      return counting(stack, ['worker:collector', 'bridge'], environment, async () => {
        const backlog = createBacklog(Math.round(count * scale));
        await backlog.send(stack.kafka);
        await untilHandled(stack, backlog.count, await databaseTime(stack));
        return backlog.count / eventsAnItem;
      });
    },
  };
}

function ordering(stack: Stack, scale: number): Contestant {
  return {
    name: 'an order',
    what: `API and worker, with ${orderCount} orders one after the other`,
    measure: () =>
      counting(stack, ['worker:commerce', 'api'], {}, async () => {
        const [productId] = await registerProducts(stack, 1);
        const count = Math.round(orderCount * scale);
        for (let ordered = 0; ordered < count; ordered += 1) await askForOrder(stack, productId!);
        await untilPublished(stack);
        return count;
      }),
  };
}

/** Runs the work with processes of its own, and returns the figures per item. */
async function counting(
  stack: Stack,
  names: readonly ProcessName[],
  environment: Readonly<Record<string, string>>,
  work: () => Promise<number>,
): Promise<Record<string, number>> {
  const processes = await Promise.all(names.map((name) => stack.start(name, environment)));
  const [worker] = processes;
  const since = new Date();
  let figures: Record<string, number>;
  let items: number;
  try {
    const requestsBefore = await readRequests(worker!);
    items = await work();
    const histories = await readHistories(stack, since);
    figures = {
      'workflows for each': histories.workflows / items,
      'history events for each': histories.events / items,
      'requests to Temporal for each': ((await readRequests(worker!)) - requestsBefore) / items,
    };
  } finally {
    await Promise.all(processes.map((process) => process.end()));
  }
  for (const process of processes) {
    figures[`statements of ${process.name} for each`] = (await readStatements(process)) / items;
  }
  return figures;
}

async function readRequests(worker: RunningProcess): Promise<number> {
  const url = `${worker.url}/metrics`;
  const counters = ['temporal_request_total', 'temporal_long_request_total'];
  const values = await Promise.all(counters.map((name) => readCounter(url, name)));
  return values.reduce((sum, value) => sum + value, 0);
}

/** From the process's last line, printed when it ends. */
async function readStatements(process: RunningProcess): Promise<number> {
  const [, statements] = await until(`${process.name} prints its statements`, () =>
    /^statements: (\d+)$/m.exec(process.output()),
  );
  return Number(statements);
}

/**
 * The workflows started since then, once all have completed; without those of the audit and of
 * products.
 */
async function readHistories(
  { temporal }: Stack,
  since: Date,
): Promise<{ workflows: number; events: number }> {
  const { auditDelivery } = workflowTypes;
  const started = `StartTime > '${since.toISOString()}' AND WorkflowType != '${auditDelivery}' AND WorkflowType != '${registerProduct.name}'`;
  await until('every workflow has finished', async () => {
    const { count } = await temporal.workflow.count(`${started} AND ExecutionStatus = 'Running'`);
    return count === 0;
  });
  let [workflows, events] = [0, 0];
  for await (const { historyLength } of temporal.workflow.list({ query: started })) {
    workflows += 1;
    events += historyLength;
  }
  return { workflows, events };
}
