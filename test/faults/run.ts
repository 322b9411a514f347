/**
 * `npm run test:faults`: real processes on real servers under a steady load; one fault after the
 * other strikes and heals, and after each everything that was ever acknowledged is checked. Then
 * the suite shows that it can fail: what correctness rests on is taken away, one at a time. Last, a
 * day passes in skipped time.
 *
 *   --seed N       repeats the choices of an earlier run
 *   --seeds N      deals the faults to N seeds in a row, each with a pipeline of its own
 *   --only NAME    one of them; several by comma. Some need three brokers: CLUSTER_KAFKA_BROKERS=3
 *   --count N      so many faults, chosen by the seed of those that measure nothing, and all the rest
 *   --away N       for how many seconds `receiver-away` and `cache-away` last; 60 unless set
 *   --minutes N    goes on with the faults for so long; then memory must have stayed flat
 *   --report FILE  writes what happened, as Markdown
 *
 * Its last line is `N passed, N failed`: one for each of them. The exit code is 1 if any failed,
 * and 2 after a mistake in the command line.
 */
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  brokerCountFromEnvironment,
  brokersVariable,
  type BrokerCount,
} from '../../cluster/servers/kafka';
import { runProgram, UsageError } from '../../platform/process/program';
import { readCommandLine, tellsUsage } from '../../testkit/command-line';
import { createStack, type Stack } from '../../testkit/stack';
import { withTestCluster, type TestCluster } from '../../testkit/test-cluster';
import { drain, measureRate, type Recovery } from './drain';
import { faults as ordinaryFaults, type Fault, type FaultContext } from './faults';
import { readReferences } from './gateway-books';
import { gatherEvidence, invariants } from './invariants';
import { createLedger, type Ledger } from './ledger';
import { registerProducts, settleLikes, startLoad, type Load } from './load';
import { longLived, type LongLived } from './long-lived';
import { judgeMemory, readMemory } from '../../testkit/memory';
import { createRandom, type Random } from '../../testkit/random';
import { startWebhookReceiver } from '../../testkit/webhook-receiver';
import {
  toMarkdown,
  type DayResult,
  type FaultResult,
  type SabotageResult,
  type SoakResult,
} from './report';
import { sabotages, type Sabotage } from './sabotages';
import { spreadingFaults } from './spreading';
import { watchStandstills, type StandstillWatch } from './standstill';

/** Of this run, as the header says; `main` reads them. */
let options: Options;

const faults = [...ordinaryFaults, ...spreadingFaults];

const processNames = ['api', 'bridge', 'worker:commerce', 'worker:collector'] as const;

/** What shortens the delivery audit, so that it has its turn within a run. */
const impatience = {
  AUDIT_INTERVAL_MS: '5000',
  AUDIT_UNPUBLISHED_AFTER_MS: '10000',
  AUDIT_UNCONFIRMED_AFTER_MS: '10000',
  AUDIT_UNHANDLED_AFTER_MS: '20000',
  AUDIT_UNDECIDED_AFTER_MS: '20000',
};

async function main(): Promise<number> {
  options = readOptions();
  const chosen = schedule(options.seed, brokerCountFromEnvironment(process.env));
  return withTestCluster((cluster) => carryOut(chosen, options.seed, cluster));
}

async function carryOut(
  chosen: ReturnType<typeof schedule>,
  seed: number,
  { signal, environment }: TestCluster,
): Promise<number> {
  Object.assign(process.env, environment);
  for (const hand of chosen.hands) console.log(`seed ${hand.seed}: ${namesOf(hand.faults)}`);
  if (chosen.others.length > 0) console.log(`then: ${namesOf(chosen.others)}`);
  const struck: FaultResult[] = [];
  for (const hand of chosen.hands) struck.push(...(await strikeAll(hand, signal)));
  const sabotaged: SabotageResult[] = [];
  for (const sabotage of chosen.sabotages) {
    signal.throwIfAborted();
    sabotaged.push(await prove(sabotage, createRandom(seed)));
  }
  const soaked = options.minutes > 0 ? soak(struck) : [];
  const days: DayResult[] = [];
  for (const day of chosen.days) {
    signal.throwIfAborted();
    days.push(await letPass(day));
  }
  const results = [...struck, ...soaked, ...sabotaged, ...days];
  if (options.report !== undefined) {
    await writeFile(
      options.report,
      toMarkdown({ command: commandOf(seed), struck, soaked, sabotaged, days }),
    );
  }
  const failed = results.filter(({ problems }) => problems.length > 0).length;
  console.log(`${results.length - failed} passed, ${failed} failed`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

/** The command that does the same again. */
function commandOf(seed: number): string {
  const given = Object.entries({ ...options.given, seed: String(seed) })
    .filter(([name]) => name !== 'report')
    .map(([name, value]) => `--${name} ${value}`);
  const brokers = brokerCountFromEnvironment(process.env);
  const variable = brokers === 1 ? '' : `${brokersVariable}=${brokers} `;
  return `${variable}npm run test:faults -- ${given.join(' ')}`;
}

interface Options {
  readonly seed: number;
  readonly seeds: number;
  readonly only: readonly string[] | undefined;
  readonly count: number | undefined;
  readonly awaySeconds: number;
  readonly minutes: number;
  readonly report: string | undefined;
  /** The options as they were given, by name. */
  readonly given: Readonly<Record<string, string>>;
}

function readOptions(): Options {
  const text = { type: 'string' } as const;
  const { values } = readCommandLine({
    options: {
      ...{ seed: text, seeds: text, count: text, away: text, minutes: text },
      ...{ only: text, report: text },
    },
  });
  const wholeNumber = (option: 'seed' | 'seeds' | 'count' | 'away' | 'minutes') => {
    const given = values[option];
    if (given === undefined) return undefined;
    if (/^\d+$/.test(given)) return Number(given);
    throw new UsageError(`--${option} ${given} is not a whole number from 0 up.`);
  };
  return {
    seed: wholeNumber('seed') ?? Date.now() % 1_000_000,
    seeds: wholeNumber('seeds') ?? 1,
    only: values.only?.split(','),
    count: wholeNumber('count'),
    awaySeconds: wholeNumber('away') ?? 60,
    minutes: wholeNumber('minutes') ?? 0,
    report: values.report,
    given: { ...values },
  };
}

/** What one seed strikes with. `--seed` and `--only` with the same names repeat it alone. */
interface Hand {
  readonly seed: number;
  readonly random: Random;
  readonly faults: readonly Fault[];
}

interface Named {
  readonly name: string;
  readonly needsBrokers?: BrokerCount;
}

function schedule(seed: number, brokers: BrokerCount) {
  const { only, count } = options;
  const everything: readonly Named[] = [...faults, ...sabotages, ...longLived];
  const unknown = only?.filter((name) => !everything.some((each) => each.name === name)) ?? [];
  if (unknown.length > 0) {
    throw new UsageError(
      `Nothing is named ${unknown.join(', ')}. There are: ${namesOf(everything)}`,
    );
  }
  const unavailable = everything.filter(({ needsBrokers = 1 }) => needsBrokers > brokers);
  const wantedInVain = unavailable.filter(({ name }) => only?.includes(name));
  if (wantedInVain.length > 0) {
    throw new UsageError(
      `These need three brokers: ${namesOf(wantedInVain)}. Set ${brokersVariable}=3 for the run.`,
    );
  }
  if (only === undefined && unavailable.length > 0) {
    console.log(`left out, since they need ${brokersVariable}=3: ${namesOf(unavailable)}`);
  }
  const isWanted = (each: Named): boolean =>
    !unavailable.includes(each) && (only?.includes(each.name) ?? true);
  const selectable = count === undefined ? faults : faults.filter((each) => !each.measures);
  const wanted = createRandom(seed).shuffle(selectable).filter(isWanted).slice(0, count);
  const [chosenSabotages, days] = [sabotages.filter(isWanted), longLived.filter(isWanted)];
  return {
    hands: deal(wanted, seed),
    sabotages: chosenSabotages,
    days,
    others: [...chosenSabotages, ...days],
  };
}

function deal(wanted: readonly Fault[], firstSeed: number): Hand[] {
  const hands = Math.max(Math.min(options.seeds, wanted.length), 1);
  return Array.from({ length: hands }, (_, index) => {
    const seed = firstSeed + index;
    const random = createRandom(seed);
    const own = wanted.filter((__, position) => position % hands === index);
    return { seed, random, faults: random.shuffle(faults).filter((fault) => own.includes(fault)) };
  });
}

function namesOf(named: readonly Named[]): string {
  return named.map(({ name }) => name).join(', ');
}

/** One pipeline and its load, which faults strike one after the other. */
interface Run extends FaultContext {
  readonly ledger: Ledger;
  readonly standstills: StandstillWatch;
  /** Events that it handles in a second. */
  readonly rate: number;
}

async function begin(random: Random, environment: Readonly<Record<string, string>>): Promise<Run> {
  const receiver = await startWebhookReceiver();
  const stack = await createStack(processNames, {
    ...environment,
    WEBHOOK_SOLD_OUT_URL: receiver.url,
  });
  const longAwayMs = options.awaySeconds * 1_000;
  try {
    const ledger = createLedger(await readReferences(stack.config));
    await registerProducts(stack, ledger);
    const rate = await measureRate(stack);
    const standstills = watchStandstills(stack);
    const poison = new Map<string, number>();
    const away = { receiverAwayMs: longAwayMs, cacheAwayMs: longAwayMs };
    return { stack, random, ledger, standstills, poison, receiver, ...away, rate };
  } catch (error) {
    await stack.stop();
    await receiver.stop();
    throw error;
  }
}

async function end({ stack, standstills, receiver }: Run): Promise<undefined> {
  await standstills.stop();
  await stack.stop();
  await receiver.stop();
}

/**
 * Strikes with every fault. After one that broke something, the next gets a pipeline of its own; one that
 * measures has it, too, with an audit at its usual pace: in a hurry, the audit would be a load to measure.
 */
async function strikeAll(hand: Hand, signal: AbortSignal): Promise<FaultResult[]> {
  const results: FaultResult[] = [];
  const deadline = Date.now() + options.minutes * 60_000;
  let run: Run | undefined;
  try {
    do {
      for (const fault of hand.faults) {
        signal.throwIfAborted();
        if (run !== undefined && fault.measures === true) run = await end(run);
        run ??= await begin(hand.random, fault.measures === true ? {} : impatience);
        const result = { seed: hand.seed, ...(await strike(fault, run)) };
        results.push(result);
        const leavesItWhole = fault.cutsLog !== true && fault.measures !== true;
        if (result.problems.length > 0 || !leavesItWhole) run = await end(run);
      }
    } while (Date.now() < deadline && hand.faults.length > 0);
  } finally {
    if (run !== undefined) await end(run);
  }
  return results;
}

/** Load, fault, heal, calm; then everything is checked. */
async function strike(fault: Fault, run: Run): Promise<Omit<FaultResult, 'seed'>> {
  const { stack, ledger } = run;
  const [sentBefore, acknowledgedBefore] = [ledger.sent, ledger.acknowledged];
  const from = Date.now();
  const problems: string[] = [];
  let recovery: Recovery | undefined;
  let events = 0;
  let redeliveries = 0;
  try {
    recovery = await underLoad(run, fault);
    const evidence = await gatherEvidence(knownOf(run, fault));
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
    problems.push(describe(error), ...stack.exitedUnasked());
  }
  const result: Omit<FaultResult, 'seed'> = {
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

function knownOf(
  { stack, ledger, poison, receiver, standstills }: Run,
  { cutsLog }: Partial<Fault>,
) {
  const unseen = standstills.unseen();
  return { stack, ledger, poison, receiver, unseen, isWhole: cutsLog !== true };
}

/** Sabotages a pipeline of its own: it passes if the invariant that it breaks is seen to fail. */
async function prove(sabotage: Sabotage, random: Random): Promise<SabotageResult> {
  const from = Date.now();
  let found: string[] = [];
  const problems: string[] = [];
  try {
    const run = await begin(random, sabotage.audited === true ? impatience : {});
    try {
      found = await whatFails(sabotage, run);
      if (found.length === 0) problems.push(`not seen to fail: ${sabotage.breaks}`);
    } finally {
      await end(run);
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

async function whatFails(sabotage: Sabotage, run: Run): Promise<string[]> {
  let seen: readonly string[] | void = undefined;
  await underLoad(run, {
    async inject(context) {
      seen = await sabotage.inject(context);
    },
  });
  if (seen !== undefined) return seen;
  const broken = invariants.find(({ name }) => name === sabotage.breaks)!;
  return broken.check(await gatherEvidence(knownOf(run, {})));
}

/** Whether the processes have kept their memory; nothing where none lived long enough to tell. */
function soak(struck: readonly FaultResult[]): SoakResult[] {
  const { seen, problems } = judgeMemory(struck.map(({ memory }) => memory));
  if (seen.length === 0) {
    console.log('memory: no process lived long enough to tell; `--only nothing` leaves them alone');
    return [];
  }
  const verdict = problems.length === 0 ? 'ok  ' : 'FAIL';
  console.log(`${verdict} memory: ${[...seen, ...problems].join('; ')}`);
  return [{ seen, problems }];
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

/**
 * Strikes and heals under load, which goes on for a second, and waits until everything is at rest. A fault
 * that measures has only the load of its own, at a steady rate: clients that go on as soon as they have
 * their answer take every processor that is free, and what they leave is no measure.
 */
async function underLoad(
  run: Run,
  { inject, measures }: Pick<Fault, 'inject' | 'measures'>,
): Promise<Recovery> {
  const { stack, ledger, random, rate } = run;
  const load = measures === true ? noLoad : startLoad(stack, ledger, random);
  try {
    await sleep(1_000);
    await inject(run);
  } catch (error) {
    await load.stop().catch((failure: unknown) => console.log(`     ${describe(failure)}`));
    throw error;
  }
  let isUnderLoad = true;
  const ended = sleep(1_000)
    .then(() => load.stop())
    .finally(() => (isUnderLoad = false));
  const [recovery] = await Promise.all([
    drain(stack, { rate, isUnderLoad: () => isUnderLoad }),
    ended,
  ]);
  return recovery;
}

const noLoad: Load = { stop: () => Promise.resolve() };

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

function tell(result: Omit<FaultResult, 'seed'>, stack: Stack): void {
  const { fault, problems, durationMs, ...figures } = result;
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

runProgram(main, { ...tellsUsage, exitAtOnce: true });
