/**
 * `npm run test:faults`: real processes on real servers under a steady load; one fault after the
 * other strikes and heals, and after each everything that was ever acknowledged is checked. At the
 * end the suite shows that it can fail: what correctness rests on is taken away, one at a time.
 *
 *   --seed N       repeats the choices of an earlier run
 *   --only NAME    one fault or sabotage; several by comma
 *   --count N      so many faults, chosen by the seed, and every sabotage
 *   --minutes N    goes on with the faults for so long
 *   --report FILE  writes what happened, as Markdown
 *
 * Its last line is `N passed, N failed`: one for each fault and sabotage. The exit code is 1 if any
 * failed.
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
import { readMemory } from './memory';
import { createRandom, type Random } from './random';
import { toMarkdown, type FaultResult, type SabotageResult } from './report';
import { sabotages, type Sabotage } from './sabotages';

const { values: options } = parseArgs({
  options: {
    seed: { type: 'string' },
    only: { type: 'string' },
    count: { type: 'string' },
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
  const seed = chooseSeed();
  const random = createRandom(seed);
  const chosen = schedule(random);
  const names = [...chosen.faults, ...chosen.sabotages].map(({ name }) => name);
  console.log(`seed ${seed}: ${names.join(', ')}`);
  const struck = await strikeAll(chosen.faults, random, signal);
  const sabotaged: SabotageResult[] = [];
  for (const sabotage of chosen.sabotages) {
    signal.throwIfAborted();
    sabotaged.push(await prove(sabotage, random));
  }
  if (options.report !== undefined) {
    await writeFile(options.report, toMarkdown(seed, struck, sabotaged));
  }
  const results = [...struck, ...sabotaged];
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

function chooseSeed(): number {
  const seed = Number(options.seed ?? Date.now() % 1_000_000);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed ${options.seed} is not a whole number.`);
  return seed;
}

interface Schedule {
  readonly faults: readonly Fault[];
  readonly sabotages: readonly Sabotage[];
}

function schedule(random: Random): Schedule {
  const shuffled = random.shuffle(faults);
  const only = options.only?.split(',');
  if (only === undefined) {
    return { faults: shuffled.slice(0, Number(options.count ?? faults.length)), sabotages };
  }
  const every = [...faults, ...sabotages].map(({ name }) => name);
  const unknown = only.filter((name) => !every.includes(name));
  if (unknown.length > 0) {
    throw new Error(`Nothing is named ${unknown.join(', ')}. There are: ${every.join(', ')}`);
  }
  return {
    faults: shuffled.filter(({ name }) => only.includes(name)),
    sabotages: sabotages.filter(({ name }) => only.includes(name)),
  };
}

/** One pipeline and its load, which faults strike one after the other. */
interface Run extends FaultContext {
  readonly ledger: Ledger;
}

async function begin(random: Random, environment: Readonly<Record<string, string>>): Promise<Run> {
  const stack = await createStack(processNames, environment);
  try {
    const ledger = createLedger();
    await registerProducts(stack, ledger);
    return { stack, random, ledger, poison: new Set() };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

/** Strikes with every fault; after one that broke something, the next gets a pipeline of its own. */
async function strikeAll(
  chosen: readonly Fault[],
  random: Random,
  signal: AbortSignal,
): Promise<FaultResult[]> {
  const results: FaultResult[] = [];
  const deadline = Date.now() + Number(options.minutes ?? 0) * 60_000;
  let run: Run | undefined;
  try {
    do {
      for (const fault of chosen) {
        signal.throwIfAborted();
        run ??= await begin(random, impatience);
        const result = await strike(fault, run);
        results.push(result);
        if (result.problems.length === 0) continue;
        await run.stack.stop();
        run = undefined;
      }
    } while (Date.now() < deadline && chosen.length > 0);
  } finally {
    await run?.stack.stop();
  }
  return results;
}

/** Load, fault, load, calm; then everything is checked. */
async function strike(fault: Fault, run: Run): Promise<FaultResult> {
  const { stack, ledger } = run;
  const [sentBefore, acknowledgedBefore] = [ledger.sent, ledger.acknowledged];
  const from = Date.now();
  const problems: string[] = [];
  let recoveryMs = 0;
  let events = 0;
  let redeliveries = 0;
  try {
    await underLoad(run, fault);
    recoveryMs = await drain(stack);
    const evidence = await gatherEvidence(stack, ledger, run.poison);
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
    startedAt: new Date(from),
    sent: ledger.sent - sentBefore,
    acknowledged: ledger.acknowledged - acknowledgedBefore,
    events,
    redeliveries,
    recoveryMs,
    durationMs: Date.now() - from,
    memory: await readMemory(stack),
    problems,
  };
  tell(result, stack);
  return result;
}

/** Sabotages a pipeline of its own: it passes if the invariant that it breaks is seen to fail. */
async function prove(sabotage: Sabotage, random: Random): Promise<SabotageResult> {
  const from = Date.now();
  let found: string[] = [];
  const problems: string[] = [];
  try {
    const run = await begin(random, {});
    try {
      await underLoad(run, sabotage);
      await drain(run.stack);
      const evidence = await gatherEvidence(run.stack, run.ledger, run.poison);
      const broken = invariants.find(({ name }) => name === sabotage.breaks)!;
      found = await broken.check(evidence);
      if (found.length === 0) problems.push(`not seen to fail: ${sabotage.breaks}`);
    } finally {
      await run.stack.stop();
    }
  } catch (error) {
    problems.push(describe(error));
  }
  const verdict = problems.length === 0 ? 'seen' : 'FAIL';
  console.log(
    `${verdict} ${sabotage.name.padEnd(38)} ${seconds(Date.now() - from)}  ${found[0] ?? problems[0] ?? ''}`,
  );
  return { sabotage, found, problems };
}

async function underLoad(
  run: Run,
  { inject }: { inject(context: FaultContext): Promise<void> },
): Promise<void> {
  const load = startLoad(run.stack, run.ledger, run.random);
  try {
    await sleep(1_000);
    await inject(run);
    await sleep(1_000);
  } finally {
    await load.stop();
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${describe(error.cause)})`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`.padStart(8);
}

function tell({ fault, problems, durationMs, ...figures }: FaultResult, stack: Stack): void {
  const { sent, acknowledged, events, recoveryMs } = figures;
  console.log(
    `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${fault.name.padEnd(38)} ${seconds(durationMs)}` +
      `  sent ${sent}, acknowledged ${acknowledged}, events so far ${events}, at rest after ${seconds(recoveryMs).trim()}`,
  );
  for (const problem of problems) console.log(`     ${problem}`);
  if (problems.length > 0 && process.env['FAULT_LOGS'] !== undefined) {
    for (const name of processNames) {
      for (const running of stack.running(name)) console.log(running.output().slice(-4_000));
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
