/**
 * `npm run test:faults`: real processes on real servers under a steady load; one fault after the
 * other strikes and heals, and after each everything that was ever acknowledged is checked.
 *
 *   --seed N       repeats the choices of an earlier run
 *   --only NAME    one fault; several by comma
 *   --minutes N    goes on with faults in random order for so long
 *   --report FILE  writes what happened, as Markdown
 *
 * Its last line is `N passed, N failed`: one for each fault. The exit code is 1 if any failed.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createStack, type Stack } from '../integration/stack';
import { withTestCluster, type TestCluster } from '../test-cluster';
import { drain } from './drain';
import { faults, type Fault, type FaultContext } from './faults';
import { gatherEvidence, invariants } from './invariants';
import { createLedger, type Ledger } from './ledger';
import { registerProducts, startLoad } from './load';
import { createRandom } from './random';
import { toMarkdown, type FaultResult } from './report';

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    only: { type: 'string' },
    minutes: { type: 'string' },
    report: { type: 'string' },
  },
});

const processNames = ['api', 'bridge', 'worker:commerce', 'worker:collector'] as const;

/** What shortens the delivery audit, so that it has its turn within a run. */
const impatience = {
  AUDIT_INTERVAL_MS: '5000',
  AUDIT_UNPUBLISHED_AFTER_MS: '10000',
  AUDIT_UNCONFIRMED_AFTER_MS: '10000',
  AUDIT_UNHANDLED_AFTER_MS: '20000',
  AUDIT_UNDECIDED_AFTER_MS: '20000',
};

async function main({ signal, environment }: TestCluster): Promise<number> {
  Object.assign(process.env, environment);
  const seed = Number(options.seed ?? Date.now() % 1_000_000);
  const random = createRandom(seed);
  const chosen = schedule(random.shuffle(faults));
  console.log(`seed ${seed}: ${chosen.map(({ name }) => name).join(', ')}`);
  const stack = await createStack(processNames, impatience);
  const results: FaultResult[] = [];
  try {
    const ledger = createLedger();
    await registerProducts(stack, ledger);
    const context: FaultContext = { stack, random, poison: new Set() };
    const deadline = Date.now() + Number(options.minutes ?? 0) * 60_000;
    do {
      for (const fault of chosen) {
        signal.throwIfAborted();
        results.push(await strike(fault, context, ledger));
        if (results.at(-1)!.problems.length > 0 && options.minutes === undefined) break;
      }
    } while (Date.now() < deadline && results.every(({ problems }) => problems.length === 0));
  } finally {
    await stack.stop();
  }
  if (options.report !== undefined) await writeFile(options.report, toMarkdown(seed, results));
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

function schedule(shuffled: readonly Fault[]): readonly Fault[] {
  const only = options.only?.split(',');
  const unknown = only?.filter((name) => !faults.some((fault) => fault.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(
      `No fault is named ${unknown.join(', ')}. There are: ${faults.map(({ name }) => name).join(', ')}`,
    );
  }
  return only === undefined ? shuffled : shuffled.filter(({ name }) => only.includes(name));
}

/** Load, fault, load, calm; then everything is checked. */
async function strike(fault: Fault, context: FaultContext, ledger: Ledger): Promise<FaultResult> {
  const { stack } = context;
  const [sentBefore, acknowledgedBefore] = [ledger.sent, ledger.acknowledged];
  const from = Date.now();
  const problems: string[] = [];
  let recoveryMs = 0;
  let events = 0;
  let redeliveries = 0;
  try {
    const load = startLoad(stack, ledger, context.random);
    try {
      await sleep(1_000);
      await fault.inject(context);
      await sleep(1_000);
    } finally {
      await load.stop();
    }
    recoveryMs = await drain(stack);
    const evidence = await gatherEvidence(stack, ledger, context.poison);
    const { published } = evidence;
    events = new Set(published.map(({ id }) => id)).size;
    redeliveries = published.length - events;
    for (const { name, check } of invariants) {
      for (const problem of (await check(evidence)).slice(0, 5))
        problems.push(`${name}: ${problem}`);
    }
  } catch (error) {
    problems.push(describe(error));
  }
  const result: FaultResult = {
    fault,
    sent: ledger.sent - sentBefore,
    acknowledged: ledger.acknowledged - acknowledgedBefore,
    events,
    redeliveries,
    recoveryMs,
    durationMs: Date.now() - from,
    problems,
  };
  tell(result, stack);
  return result;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${describe(error.cause)})`;
}

function tell({ fault, problems, durationMs, ...figures }: FaultResult, stack: Stack): void {
  const { sent, acknowledged, events, recoveryMs } = figures;
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  console.log(
    `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${fault.name.padEnd(38)} ${seconds(durationMs).padStart(8)}` +
      `  sent ${sent}, acknowledged ${acknowledged}, events so far ${events}, recovered in ${seconds(recoveryMs)}`,
  );
  for (const problem of problems) console.log(`     ${problem}`);
  if (problems.length > 0 && stack.config.LOG_LEVEL === 'debug') {
    for (const name of processNames) {
      for (const process of stack.running(name)) console.log(process.output().slice(-4_000));
    }
  }
}

withTestCluster(main).then(
  (exitCode) => process.exit(exitCode),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
