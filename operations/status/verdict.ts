/**
 * The verdict on the system, from what was measured. Pure. It is `ok` only if everything was measured and
 * nothing is wrong.
 */
import { describeScope, isCovered } from '../../events/consumption-scope';
import { taskQueues } from '../../events/workflow-names';
import type { LastAudit } from './last-audit';
import type { Counts, Measured, Measurements, Waiting } from './measurements';

/** How the system is. `unknown`: nothing that was measured is wrong, and something could not be measured. */
type Verdict = 'ok' | 'degraded' | 'unavailable' | 'unknown';

/** Something that is wrong. */
export interface Problem {
  /** Stable, for programs. */
  readonly code: string;
  readonly verdict: 'degraded' | 'unavailable';
  /** Since when, where the data say so; undefined where only whoever watches knows. */
  readonly since?: Date;
  /** What is wrong, such as `Kafka unavailable`. */
  readonly title: string;
  /** What it means, with figures. */
  readonly detail: string;
  /** The runbook's section. */
  readonly runbook: string;
}

/** Something that could not be measured, and why. */
interface Unmeasured {
  readonly what: string;
  readonly reason: string;
}

/** The verdict and its grounds. */
export interface Judgement {
  readonly verdict: Verdict;
  /** The worst first. */
  readonly problems: readonly Problem[];
  readonly unmeasured: readonly Unmeasured[];
}

/** From when on what waits is a problem, in ms. An operator's thresholds, below those of the alerts. */
const thresholds = {
  /** An event in the outbox: it is published within milliseconds. */
  unpublishedMs: 10_000,
  /** A message that is not committed. */
  uncommittedMs: 30_000,
  /** An order without a decision: the payment gateway has up to ten seconds. */
  undecidedMs: 30_000,
  /** An audit, beyond its own interval: it may take a while, and the next one makes up for it. */
  auditMs: 120_000,
} as const;

/** Judges what was measured. */
export function judge(measurements: Measurements): Judgement {
  const problems = rules
    .flatMap((rule) => rule(measurements))
    .sort((one, other) => rank(one.verdict) - rank(other.verdict));
  const unmeasured = findUnmeasured(measurements);
  return { verdict: verdictOf(problems, unmeasured), problems, unmeasured };
}

function verdictOf(problems: readonly Problem[], unmeasured: readonly Unmeasured[]): Verdict {
  const [worst] = problems;
  if (worst !== undefined) return worst.verdict;
  return unmeasured.length === 0 ? 'ok' : 'unknown';
}

function rank(verdict: Problem['verdict']): number {
  return verdict === 'unavailable' ? 0 : 1;
}

type Rule = (measurements: Measurements) => readonly Problem[];

/** What is found first is told first among what is as bad. */
const rules: readonly Rule[] = [
  findServersDown,
  findHolds,
  findRateBounds,
  findProcessesMissing,
  findUnpublished,
  findUncommitted,
  findGrowingLag,
  findUndecided,
  findAuditTrouble,
  findViolatedInvariants,
  findDeadLetters,
];

function findUnmeasured({ counts, lag, processes, audit }: Measurements): Unmeasured[] {
  const parts: readonly [string, Measured<unknown>][] = [
    ['outbox, orders, dead letters and bridges', counts],
    ['consumer lag', lag],
    ['processes', processes],
    ['delivery audit', current(audit)],
  ];
  const missing = parts.flatMap(([what, part]) =>
    'unmeasured' in part ? [{ what, reason: part.unmeasured }] : [],
  );
  const uncounted = valueOf(processes)?.filter(({ running }) => running === undefined) ?? [];
  return [
    ...missing,
    ...uncounted.map(({ name }) => ({ what: name, reason: 'whoever counts it is unavailable' })),
  ];
}

/** An audit that is not run says nothing of now. */
function current(audit: Measurements['audit']): Measured<LastAudit> {
  if ('unmeasured' in audit) return audit;
  if (audit.value === undefined) return { unmeasured: 'none has ended yet' };
  if (audit.value.everyMs === undefined) return { unmeasured: 'its schedule is paused' };
  return { value: audit.value };
}

function valueOf<Value>(measured: Measured<Value>): Value | undefined {
  return 'value' in measured ? measured.value : undefined;
}

/** What a server's absence means for those who order, and for events. */
interface ServerMeaning {
  readonly title: string;
  readonly runbook: string;
  means(counts: Counts | undefined, at: Date): string;
}

const servers: Readonly<Record<string, ServerMeaning>> = {
  postgres: {
    title: 'PostgreSQL unavailable',
    runbook: 'RequestsFailing',
    means: () => 'requests are answered with 503; events wait where they are',
  },
  temporal: {
    title: 'Temporal unavailable',
    runbook: 'RequestsFailing',
    means: () => 'orders and changes are answered with 503; reads work; events wait in Kafka',
  },
  kafka: {
    title: 'Kafka unavailable',
    runbook: 'OutboxNotPublished',
    means: (counts, at) =>
      `orders are taken; ${counts === undefined ? 'their events wait in the outbox' : describeWaiting(counts.outbox, 'event', at)}`,
  },
  redis: {
    title: 'Redis unavailable',
    runbook: 'CacheUnavailable',
    means: () => 'products are read from PostgreSQL; evictions wait',
  },
};

function findServersDown({ servers: states, counts, at }: Measurements): Problem[] {
  return states
    .filter(({ status }) => status === 'down')
    .map(({ name, required, reason, downSince }) => {
      const known = servers[name];
      return {
        code: `${name.toUpperCase()}_UNAVAILABLE`,
        verdict: required ? ('unavailable' as const) : ('degraded' as const),
        ...(downSince === null ? {} : { since: downSince }),
        title: known?.title ?? 'Topics unavailable',
        detail: known?.means(valueOf(counts), at) ?? `their events wait. ${reason ?? ''}`.trim(),
        runbook: known?.runbook ?? 'TopicUnavailable',
      };
    });
}

function findHolds({ counts, lag }: Measurements): Problem[] {
  const holds = valueOf(counts)?.consumption.holds ?? [];
  const [oldest] = holds;
  if (oldest === undefined) return [];
  const waiting = valueOf(lag)?.filter((partition) => isCovered(holds, partition));
  const told = holds.map((hold) => `${describeScope(hold)}, by ${hold.by}: ${hold.reason}`);
  const messages = waiting?.reduce((sum, each) => sum + each.lag, 0);
  return [
    {
      code: 'CONSUMPTION_HELD',
      verdict: 'degraded',
      since: new Date(oldest.since),
      title: 'Consumption is held',
      detail:
        told.join('; ') + (messages === undefined ? '' : `; ${waitingOf(messages, 'message')}`),
      runbook: 'ConsumptionHeld',
    },
  ];
}

function findRateBounds({ counts }: Measurements): Problem[] {
  const { limit = null, topicLimits = [] } = valueOf(counts)?.consumption ?? {};
  const bounds = [...(limit === null ? [] : [{ ...limit, topic: null }]), ...topicLimits];
  if (bounds.length === 0) return [];
  const told = bounds.map(({ topic, messagesPerSecond, by, reason }) => {
    const rate = `at most ${countOf(messagesPerSecond, 'message')} per second`;
    return `${rate}${topic === null ? '' : ` of ${topic}`}, by ${by}: ${reason}`;
  });
  return [
    {
      code: 'CONSUMPTION_THROTTLED',
      verdict: 'degraded',
      since: new Date(Math.min(...bounds.map(({ since }) => Date.parse(since)))),
      title: 'Consumption is throttled',
      detail: told.join('; '),
      runbook: 'ConsumptionHeld',
    },
  ];
}

const processMeanings: Readonly<Record<string, string>> = {
  'worker:commerce': `nobody polls the task queue ${taskQueues.commerce}; orders stay undecided and events unpublished`,
  'worker:collector': `nobody polls the task queue ${taskQueues.collector}; events wait for their effects`,
  bridge: 'nobody consumes; events wait in Kafka',
};

function findProcessesMissing({ processes }: Measurements): Problem[] {
  return (valueOf(processes) ?? [])
    .filter(({ running }) => running === 0)
    .map(({ name }) => ({
      code: `NO_${name.toUpperCase().replace(':', '_')}`,
      verdict: 'degraded',
      title: `No ${name} is running`,
      detail: processMeanings[name]!,
      runbook: 'ProcessDown',
    }));
}

function findUnpublished({ servers: states, counts, at }: Measurements): Problem[] {
  const counted = valueOf(counts);
  // The outage of Kafka tells of it itself.
  const told = states.some(({ name, status }) => name === 'kafka' && status === 'down');
  if (told || counted === undefined) return [];
  const { outbox, orders } = counted;
  if (ageOf(outbox, at) < thresholds.unpublishedMs) return [];
  return [
    {
      code: 'EVENTS_NOT_PUBLISHED',
      verdict: 'degraded',
      ...sinceOldest(outbox),
      title: 'Events are not published',
      detail:
        `${describeWaiting(outbox, 'event', at)}, although Kafka answers` +
        // An order publishes its events once it is decided.
        (orders.count === 0 ? '' : '; those of undecided orders wait for the decision'),
      runbook: 'OutboxNotPublished',
    },
  ];
}

function findUncommitted({ counts, lag, at }: Measurements): Problem[] {
  // What is held is told by itself.
  const holds = valueOf(counts)?.consumption.holds ?? [];
  const free = (valueOf(lag) ?? []).filter((partition) => !isCovered(holds, partition));
  const behind = free.filter(
    ({ lag: messages, oldestUncommittedAt }) =>
      messages > 0 &&
      at.getTime() - (oldestUncommittedAt ?? at.getTime()) >= thresholds.uncommittedMs,
  );
  if (behind.length === 0) return [];
  const oldestAt = new Date(Math.min(...behind.map((each) => each.oldestUncommittedAt!)));
  const waiting = { count: behind.reduce((sum, each) => sum + each.lag, 0), more: false, oldestAt };
  const heldBack = behind.filter(({ heldBackBy }) => heldBackBy !== undefined);
  const blocked = heldBack.map(({ topic, partition }) => `${topic}/${partition}`).join(', ');
  return [
    {
      code: 'COLLECTOR_BEHIND',
      verdict: 'degraded',
      since: oldestAt,
      title: 'The collector is behind',
      detail:
        `${describeWaiting(waiting, 'message', at)}, in ${countOf(behind.length, 'partition')}` +
        (blocked === '' ? '' : `; an open transaction blocks ${blocked}`),
      runbook: blocked === '' ? 'MessagesWaitLong' : 'PartitionHeldBack',
    },
  ];
}

function findGrowingLag({ counts, lag }: Measurements): Problem[] {
  const growing = (valueOf(counts)?.bridges ?? []).filter(
    ({ mode, lagGrowsSince }) => mode === 'per-event' && lagGrowsSince !== null,
  );
  if (growing.length === 0) return [];
  const total = valueOf(lag)?.reduce((sum, each) => sum + each.lag, 0);
  return [
    {
      code: 'LAG_GROWS_PER_EVENT',
      verdict: 'degraded',
      since: new Date(Math.min(...growing.map(({ lagGrowsSince }) => lagGrowsSince!.getTime()))),
      title: 'Lag grows',
      detail:
        `${total === undefined ? '' : `${countOf(total, 'message')} wait; `}each event gets a workflow of its own ` +
        '(BRIDGE_MODE=per-event). Bridges with BRIDGE_MODE=coalesce give a backlog one workflow for up to 2,000 events',
      runbook: 'ConsumerLagGrowing',
    },
  ];
}

function findUndecided({ counts, at }: Measurements): Problem[] {
  const orders = valueOf(counts)?.orders;
  if (orders === undefined || ageOf(orders, at) < thresholds.undecidedMs) return [];
  return [
    {
      code: 'ORDERS_UNDECIDED',
      verdict: 'degraded',
      ...sinceOldest(orders),
      title: 'Orders are undecided',
      detail: `${describeWaiting(orders, 'order', at)}; their workflows go on`,
      runbook: 'OrdersUndecided',
    },
  ];
}

function findDeadLetters({ counts }: Measurements): Problem[] {
  const deadLetters = valueOf(counts)?.deadLetters;
  if (deadLetters === undefined || deadLetters.count === 0) return [];
  return [
    {
      code: 'DEAD_LETTERS_WAITING',
      verdict: 'degraded',
      ...sinceOldest(deadLetters),
      title: 'Dead letters wait',
      detail: `${countOf(deadLetters.count, 'message', deadLetters.more)} could not be handled and block nothing; redrive or discard them`,
      runbook: 'DeadLettersWaiting',
    },
  ];
}

function findAuditTrouble({ audit, at }: Measurements): Problem[] {
  const last = valueOf(audit);
  if (last === undefined) return [];
  const startedAgo = at.getTime() - last.startedAt.getTime();
  const common = { verdict: 'degraded', runbook: 'AuditFindings' } as const;
  if (last.everyMs !== undefined && startedAgo > last.everyMs + thresholds.auditMs) {
    const detail = `the last one began ${describeAge(startedAgo)} ago, and one is due every ${describeAge(last.everyMs)}`;
    return [{ ...common, code: 'AUDIT_OVERDUE', title: 'The delivery audit is overdue', detail }];
  }
  if (last.failure !== null) {
    return [
      {
        ...common,
        code: 'AUDIT_INCOMPLETE',
        since: last.startedAt,
        title: 'The delivery audit is incomplete',
        detail: last.failure,
      },
    ];
  }
  return findAuditFindings(last).map((detail) => ({
    ...common,
    code: 'AUDIT_FINDINGS',
    since: last.startedAt,
    title: 'The delivery audit found problems',
    detail,
  }));
}

function findViolatedInvariants({ counts }: Measurements): Problem[] {
  const verification = valueOf(counts)?.verification ?? null;
  if (verification?.outcome !== 'differs') return [];
  const { by, finishedAt, violated } = verification;
  return [
    {
      code: 'VERIFICATION_DIFFERS',
      verdict: 'degraded',
      since: finishedAt,
      title: 'The figures do not add up',
      detail: `${countOf(violated.length, 'invariant')} violated: ${violated.join(', ')}; verified by ${by}`,
      runbook: 'VerificationDiffers',
    },
  ];
}

function findAuditFindings({ findings }: LastAudit): string[] {
  const found = Object.entries(findings).map(([kind, count]) => `${formatCount(count)} ${kind}`);
  return found.length === 0 ? [] : [`${found.join(', ')}; it mends what it can`];
}

function ageOf({ oldestAt }: Waiting, at: Date): number {
  return oldestAt === null ? 0 : at.getTime() - oldestAt.getTime();
}

function sinceOldest({ oldestAt }: Waiting): { since?: Date } {
  return oldestAt === null ? {} : { since: oldestAt };
}

/** `14 events wait, the oldest 48 s`. */
export function describeWaiting(waiting: Waiting, unit: string, at: Date): string {
  const { count, more } = waiting;
  const oldest = count === 0 ? '' : `, the oldest ${describeAge(ageOf(waiting, at))}`;
  return `${waitingOf(count, unit, more)}${oldest}`;
}

/** `14 events wait`. */
function waitingOf(count: number, unit: string, more = false): string {
  if (count === 0) return `no ${unit} waits`;
  return `${countOf(count, unit, more)} ${count === 1 ? 'waits' : 'wait'}`;
}

/** `14 events`, or `10,000+ events` where more were not counted. */
function countOf(count: number, unit: string, more = false): string {
  return `${formatCount(count)}${more ? '+' : ''} ${unit}${count === 1 ? '' : 's'}`;
}

function formatCount(count: number): string {
  return count.toLocaleString('en');
}

/** `48 s`, `12 min`, `5 h`, `3 days`. */
export function describeAge(ms: number): string {
  const seconds = Math.max(Math.round(ms / 1_000), 0);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
