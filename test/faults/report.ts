/** What a run of the fault suite tells, as a page. */
import { cpus, totalmem } from 'node:os';
import type { Recovery } from './drain';
import type { Fault } from './faults';
import { invariants } from './invariants';
import type { LongLived } from './long-lived';
import type { Memory } from '../../testkit/memory';
import type { Sabotage } from './sabotages';

/** What became of one fault. */
export interface FaultResult {
  /** The seed whose choices it struck with. */
  readonly seed: number;
  readonly fault: Fault;
  readonly startedAt: Date;
  /** Calls of the API while it struck. */
  readonly sent: number;
  /** Those that were answered as decided. */
  readonly acknowledged: number;
  /** Distinct events in the topics afterwards, since the run began. */
  readonly events: number;
  /** Copies beyond the first in the topics afterwards, since the run began. */
  readonly redeliveries: number;
  /** Undefined when it did not come to rest. */
  readonly recovery: Recovery | undefined;
  readonly durationMs: number;
  /** What the processes used at the end. */
  readonly memory: Memory;
  /** What did not hold; empty when everything did. */
  readonly problems: readonly string[];
}

/** What became of one sabotage. */
export interface SabotageResult {
  readonly sabotage: Sabotage;
  /** What the invariant that it breaks has found. */
  readonly found: readonly string[];
  /** Why it proves nothing; empty when the invariant was seen to fail. */
  readonly problems: readonly string[];
}

/** What became of the memory in a soak. */
export interface SoakResult {
  /** What each process used, in the middle of the run and at its end. */
  readonly seen: readonly string[];
  readonly problems: readonly string[];
}

/** What became of something that takes a day. */
export interface DayResult {
  readonly day: LongLived;
  readonly seen: string;
  readonly problems: readonly string[];
}

/** A whole run. */
export interface RunResult {
  /** The command that was given. */
  readonly command: string;
  readonly struck: readonly FaultResult[];
  /** Empty unless the run was a soak. */
  readonly soaked: readonly SoakResult[];
  readonly sabotaged: readonly SabotageResult[];
  readonly days: readonly DayResult[];
}

const messagesOfOthers = `## What is promised of the messages of others

Behind any of these, but an open transaction, the healthy ones go on. Where nothing moves, readiness, metrics and \`verify\` tell of it. The limits stand in [architecture](architecture.md#messages-of-others).

| what others can do | what happens |
|---|---|
| send bytes, values or headers that are no event | parked whole, once; a redrive sends the same |
| compress with gzip, snappy, lz4 or zstd | read |
| send what Temporal will not carry | parked whole, by its coordinates |
| leave a batch that cannot be read, or that unpacks to more than 64 MiB | parked from its first offset to its last, as bytes; it cannot be redriven |
| abort a transaction | nothing of it is logged, and it is committed past |
| keep a transaction open | its partition waits, and is named |
| use a known ID for another event | the second is parked as \`EVENT_ID_CONFLICT\` |
| delete, cut or make anew what was not read | put on record; the shop's own events are sent again, those of others are gone |
| make one topic unusable | the other goes on |
`;

/** The page `docs/reliability.md`. */
export function toMarkdown(result: RunResult): string {
  const { command, struck, soaked, sabotaged, days } = result;
  return `# What was broken, and what held

Written by \`${command}\` on ${new Date().toISOString().slice(0, 10)}, on ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node.js ${process.version}.

Real processes on real servers, under a steady mixed load (orders, cancellations, stock, likes, views). Each fault strikes and is taken back; then the load ends, the pipeline comes to rest, and everything that was acknowledged since the run began is checked from outside: by SQL, by reading both topics from the start, and in the payment gateway's books. A call without an answer is made again under its idempotency key, so there are more calls than decisions. Each seed has a pipeline of its own; a fault that broke something would have ended it, too. The time to rest counts from the moment at which the fault is taken back; its bound is 30 s and the backlog at the rate that the pipeline was measured to handle when the run began.

| started (UTC) | seed | fault | what it does | calls | decided | events so far | copies so far | backlog | seconds to rest (bound) | MiB: api, bridge, commerce, collector | invariants |
|---|---|---|---|---|---|---|---|---|---|---|---|
${struck.map(toRow).join('\n')}

## What is checked after each

${invariants.map(({ name }) => `- ${name}`).join('\n')}

${messagesOfOthers}
${soaked.length === 0 ? '' : `## Memory over the run\n\n${soaked.map(toSoak).join('\n')}\n\n`}## That the suite can fail

Each of these takes away one thing that correctness rests on, in a pipeline of its own, and most without the delivery audit, which would repair it.

| sabotage | what it does | the invariant that fails | what it found |
|---|---|---|---|
${sabotaged.map(toSabotageRow).join('\n')}

## What takes a day

| what happens | what was seen |
|---|---|
${days.map(({ day, seen, problems }) => row([day.strikes, [seen, ...problems].join('; ')])).join('\n')}
`;
}

function toRow({ fault, startedAt, memory, problems, ...result }: FaultResult): string {
  return row([
    startedAt.toISOString().slice(11, 19),
    result.seed,
    `\`${fault.name}\``,
    fault.strikes,
    result.sent,
    result.acknowledged,
    result.events,
    result.redeliveries,
    result.recovery?.backlog ?? '?',
    result.recovery === undefined ? 'never' : secondsOf(result.recovery),
    [memory.api, memory.bridge, memory['worker:commerce'], memory['worker:collector']]
      .map((sample) => sample?.mebibytes ?? '?')
      .join(', '),
    problems.length === 0 ? 'all hold' : problems.join('; '),
  ]);
}

function toSoak({ seen, problems }: SoakResult): string {
  return [...seen, ...problems].map((line) => `- ${line}`).join('\n');
}

function secondsOf({ tookMs, boundMs }: Recovery): string {
  return `${(tookMs / 1_000).toFixed(1)} (${(boundMs / 1_000).toFixed(0)})`;
}

function toSabotageRow({ sabotage, found, problems }: SabotageResult): string {
  const more = found.length > 1 ? `, and ${found.length - 1} more` : '';
  const seen = problems.length === 0 ? `${found[0]}${more}` : problems.join('; ');
  return row([`\`${sabotage.name}\``, sabotage.strikes, sabotage.breaks, seen]);
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
}
