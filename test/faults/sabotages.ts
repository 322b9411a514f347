/**
 * Proof that the suite can fail: each sabotage disables one thing that correctness depends on, and
 * names the invariant that must then fail.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProcessName } from '../../testkit/stack';
import { until } from '../../testkit/until';
import {
  assertKilled,
  changeBehindReader,
  endAll,
  forgetHistory,
  type FaultContext,
} from './faults';
import type { Alteration } from './alteration';
import { moveLeaders } from './brokers';
import { altered, guardIgnored } from './altered';
import { freezeFor } from './servers';
import { adjustAtRate } from './spreading';
import { readReports, reporters, seenWithinMs, type Reports } from './standstill';

/** One thing that is taken away. */
export interface Sabotage {
  readonly name: Alteration;
  /** What is taken away, and what then happens, for the report. */
  readonly strikes: string;
  /** How many brokers it needs; one unless set. */
  readonly needsBrokers?: 3;
  /** The invariant that must fail, or what must be seen while the sabotage lasts. */
  readonly breaks: string;
  /**
   * Whether the delivery audit runs nevertheless: where Temporal has lost work in progress, nothing
   * else would finish it.
   */
  readonly audited?: boolean;
  /**
   * Takes it away and does what is harmless as long as it is there.
   *
   * @returns what was seen to fail meanwhile, where nothing of it is left afterwards
   */
  inject(context: FaultContext): Promise<readonly string[] | void>;
}

/**
 * So many that messages of each partition wait behind a request that is held up. The load that all faults
 * have leaves that to chance.
 */
const adjustmentsPerSecond = 20;

/** Every sabotage. Most run without the delivery audit, which would repair what they lose. */
export const sabotages: readonly Sabotage[] = [
  {
    name: 'concurrent-sends',
    strikes: `the sender’s single flight is off and each message is a request of its own, and Kafka is frozen for longer than a request may take, under ${adjustmentsPerSecond} more adjustments a second`,
    breaks: 'every committed change has its event in the log, exactly once, and no other',
    async inject(context) {
      await replace(context, 'worker:commerce', 'concurrent-sends');
      await whileAdjusting(context, async () => {
        await sleep(2_000);
        await freezeFor(context, 'kafka', 14_000);
      });
    },
  },
  {
    name: 'missing-records-taken',
    strikes: `the sender puts partitions of several leaders into one request and takes an answer that lacks a message’s record as if it had been sent, and leaders move under ${adjustmentsPerSecond} more adjustments a second`,
    breaks: 'every committed change has its event in the log, exactly once, and no other',
    needsBrokers: 3,
    async inject(context) {
      await replace(context, 'worker:commerce', 'missing-records-taken');
      await whileAdjusting(context, () => moveLeaders(context));
    },
  },
  {
    name: 'commit-before-start',
    strikes: 'the bridge commits first and is killed before it starts the workflows',
    breaks: 'what is in the topics is what is in the log',
    async inject(context) {
      const { stack } = context;
      await endAll(stack, 'bridge');
      await sleep(1_000);
      const doomed = await stack.launch('bridge', altered('commit-before-start'));
      await until('it is dead', () => !stack.running('bridge').includes(doomed));
      await assertKilled(doomed);
      await stack.start('bridge');
    },
  },
  {
    name: 'guard-ignored',
    strikes:
      '`event_handled` is ignored, Temporal has forgotten everything, and every event comes again',
    breaks: 'the metrics are what the events in the topics add up to',
    audited: true,
    async inject(context) {
      Object.assign(context.stack.later, await guardIgnored(context.stack));
      await forgetHistory(context);
    },
  },
  {
    name: 'lease-ignored',
    strikes:
      'readers fill the cache late, and it takes what they bring without asking for their lease',
    breaks: 'the cache shows nothing that is older than its last eviction',
    async inject(context) {
      await replace(context, 'api', 'lease-ignored');
      await changeBehindReader(context);
    },
  },
  {
    name: 'views-unspooled',
    strikes: 'views are answered without being in the spool, and Kafka is stopped for a while',
    breaks: 'every answered view has its event, exactly once',
    async inject(context) {
      await replace(context, 'api', 'views-unspooled');
      await context.stack.cluster.stop('kafka');
      await sleep(5_000);
      await context.stack.cluster.start('kafka');
    },
  },
  {
    name: 'hung-consumer',
    strikes: 'the bridge takes what it has fetched, keeps its place in the group, and does nothing',
    breaks: 'readiness, metrics and verify are well',
    async inject(context) {
      await replace(context, 'bridge', 'hung-consumer');
      const reports = await untilAllReport(context);
      await endAll(context.stack, 'bridge', 'SIGKILL');
      await context.stack.start('bridge');
      return Object.entries(reports).map(([reporter, report]) => `${reporter}: ${report}`);
    },
  },
];

async function whileAdjusting(context: FaultContext, strike: () => Promise<void>): Promise<void> {
  const over = new AbortController();
  const adjusting = adjustAtRate(context, adjustmentsPerSecond, over.signal);
  try {
    await strike();
  } finally {
    over.abort();
    await adjusting;
  }
}

/** All must report in time, and the stall, not a bridge that is just starting. */
async function untilAllReport({ stack }: FaultContext): Promise<Reports> {
  const isAll = (reports: Reports): boolean =>
    reporters.every((reporter) => reports[reporter] !== undefined);
  let reports: Reports = {};
  for (const deadline = Date.now() + seenWithinMs; Date.now() < deadline && !isAll(reports);) {
    await sleep(2_000);
    reports = await readReports(stack);
  }
  if (isAll(reports)) return reports;
  throw new Error(`After ${seenWithinMs / 1_000} s only these tell: ${JSON.stringify(reports)}`);
}

async function replace(
  { stack }: FaultContext,
  name: ProcessName,
  alteration: Alteration,
): Promise<void> {
  await endAll(stack, name);
  await stack.start(name, altered(alteration));
}
