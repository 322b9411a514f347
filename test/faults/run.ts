/**
 * `npm run test:faults`: real processes on real servers under a steady load; one fault after the
 * other strikes and heals, and after each everything that was ever acknowledged is checked. Then
 * the suite shows that it can fail: what correctness rests on is taken away, one at a time. Last, a
 * day passes in skipped time.
 *
 *   --seed N       repeats the choices of an earlier run
 *   --only NAME    one of them; several by comma
 *   --count N      so many faults, chosen by the seed, and all the rest
 *   --minutes N    goes on with the faults for so long
 *   --report FILE  writes what happened, as Markdown
 *
 * Its last line is `N passed, N failed`: one for each of them. The exit code is 1 if any failed.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createStack, type Stack } from '../integration/stack';
import { withTestCluster, type TestCluster } from '../test-cluster';
import { drain, measureRate, type Recovery } from './drain';
import { faults, type Fault, type FaultContext } from './faults';
import { gatherEvidence, invariants } from './invariants';
import { createLedger, type Ledger } from './ledger';
import { registerProducts, settleLikes, startLoad } from './load';
import { longLived, type LongLived } from './long-lived';
import { readMemory } from './memory';
import { createRandom, type Random } from './random';
import { toMarkdown, type DayResult, type FaultResult, type SabotageResult } from './report';
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
  const names = Object.values(chosen).flatMap((each: Named[]) => each.map(({ name }) => name));
  console.log(`seed ${seed}: ${names.join(', ')}`);
  const struck = await strikeAll(chosen.faults, random, signal);
  const sabotaged: SabotageResult[] = [];
  for (const sabotage of chosen.sabotages) {
    signal.throwIfAborted();
    sabotaged.push(await prove(sabotage, random));
  }
  const days: DayResult[] = [];
  for (const day of chosen.days) {
    signal.throwIfAborted();
    days.push(await letPass(day));
  }
  const results = [...struck, ...sabotaged, ...days];
  if (options.report !== undefined) {
    const command = ['npm run test:faults --', ...process.argv.slice(2)].join(' ');
    await writeFile(options.report, toMarkdown({ command, seed, struck, sabotaged, days }));
  }
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

function chooseSeed(): number {
  return wholeNumber('seed', Date.now() % 1_000_000);
}

function wholeNumber(option: 'seed' | 'count' | 'minutes', otherwise: number): number {
  const text = options[option];
  if (text === undefined) return otherwise;
  if (!/^\d+$/.test(text)) throw new Error(`--${option} ${text} is not a whole number from 0 up.`);
  return Number(text);
}

interface Schedule {
  readonly faults: Fault[];
  readonly sabotages: Sabotage[];
  readonly days: LongLived[];
}

interface Named {
  readonly name: string;
}

function schedule(random: Random): Schedule {
  const shuffled = random.shuffle(faults);
  const only = options.only?.split(',');
  if (only === undefined) {
    const count = wholeNumber('count', faults.length);
    return { faults: shuffled.slice(0, count), sabotages: [...sabotages], days: [...longLived] };
  }
  const every = [...faults, ...sabotages, ...longLived].map(({ name }) => name);
  const unknown = only.filter((name) => !every.includes(name));
  if (unknown.length > 0) {
    throw new Error(`Nothing is named ${unknown.join(', ')}. There are: ${every.join(', ')}`);
  }
  const wanted = ({ name }: Named): boolean => only.includes(name);
  return {
    faults: shuffled.filter(wanted),
    sabotages: sabotages.filter(wanted),
    days: longLived.filter(wanted),
  };
}

/** One pipeline and its load, which faults strike one after the other. */
interface Run extends FaultContext {
  readonly ledger: Ledger;
  /** Events that it handles in a second. */
  readonly rate: number;
}

async function begin(random: Random, environment: Readonly<Record<string, string>>): Promise<Run> {
  const stack = await createStack(processNames, environment);
  try {
    const ledger = createLedger();
    await registerProducts(stack, ledger);
    return { stack, random, ledger, poison: new Map(), rate: await measureRate(stack) };
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
  const deadline = Date.now() + wholeNumber('minutes', 0) * 60_000;
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
  let recovery: Recovery | undefined;
  let events = 0;
  let redeliveries = 0;
  try {
    await underLoad(run, fault);
    recovery = await drain(stack, run.rate);
    const evidence = await gatherEvidence(stack, ledger, run.poison);
    const { published } = evidence;
    events = new Set(published.map(({ id }) => id)).size;
    redeliveries = published.length - events;
    for (const { name, check } of invariants) {
      for (const problem of (await check(evidence)).slice(0, 5))
        problems.push(`${name}: ${problem}`);
    }
    await settleLikes(run);
    if (recovery.tookMs > recovery.boundMs) problems.push(tooSlow(recovery));
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
    recovery,
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
    const run = await begin(random, sabotage.audited === true ? impatience : {});
    try {
      await underLoad(run, sabotage);
      await drain(run.stack, run.rate);
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

async function letPass(day: LongLived): Promise<DayResult> {
  const from = Date.now();
  const { seen, problems } = await day.pass().catch((error: unknown) => ({
    seen: '',
    problems: [describe(error)],
  }));
  const verdict = problems.length === 0 ? 'ok  ' : 'FAIL';
  console.log(`${verdict} ${day.name.padEnd(38)} ${seconds(Date.now() - from)}  ${seen}`);
  for (const problem of problems) console.log(`     ${problem}`);
  return { day, seen, problems };
}

async function underLoad(run: Run, { inject }: Pick<Fault, 'inject'>): Promise<void> {
  const load = startLoad(run.stack, run.ledger, run.random);
  try {
    await sleep(1_000);
    await inject(run);
    await sleep(1_000);
  } finally {
    await load.stop();
  }
}

function tooSlow({ tookMs, boundMs, backlog }: Recovery): string {
  return `at rest after ${seconds(tookMs).trim()}, more than the ${seconds(boundMs).trim()} that a backlog of ${backlog} explains`;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message} (${describe(error.cause)})`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`.padStart(8);
}

function tell({ fault, problems, durationMs, ...figures }: FaultResult, stack: Stack): void {
  const { sent, acknowledged, events, recovery } = figures;
  console.log(
    `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${fault.name.padEnd(38)} ${seconds(durationMs)}` +
      `  sent ${sent}, acknowledged ${acknowledged}, events so far ${events}, ` +
      (recovery === undefined
        ? 'not at rest'
        : `at rest after ${seconds(recovery.tookMs).trim()} (backlog ${recovery.backlog})`),
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
