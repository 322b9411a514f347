/** What a run of the fault suite tells, as a page. */
import { cpus, totalmem } from 'node:os';
import type { Fault } from './faults';
import { invariants } from './invariants';

/** What became of one fault. */
export interface FaultResult {
  readonly fault: Fault;
  /** Calls of the API while it struck. */
  readonly sent: number;
  /** Those that were answered as decided. */
  readonly acknowledged: number;
  /** Distinct events in the topics afterwards, since the run began. */
  readonly events: number;
  /** Copies beyond the first in the topics afterwards, since the run began. */
  readonly redeliveries: number;
  /** From the end of the load until nothing was left to do, in ms. */
  readonly recoveryMs: number;
  readonly durationMs: number;
  /** What did not hold; empty when everything did. */
  readonly problems: readonly string[];
}

/** The page `docs/reliability.md`. */
export function toMarkdown(seed: number, results: readonly FaultResult[]): string {
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1);
  const rows = results.map(
    ({ fault, ...result }) =>
      `| \`${fault.name}\` | ${fault.strikes} | ${result.sent} | ${result.acknowledged} | ${result.events} | ` +
      `${result.redeliveries} | ${seconds(result.recoveryMs)} | ${result.problems.length === 0 ? 'all hold' : result.problems.join('; ')} |`,
  );
  return `# What was broken, and what held

Written by \`npm run test:faults -- --seed ${seed} --report docs/reliability.md\` on ${new Date().toISOString().slice(0, 10)},
on ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node.js ${process.version}.

Real processes on real servers, under a steady mixed load (orders, cancellations, stock, likes, views). Each fault strikes and is taken back; then the load ends, the pipeline comes to rest, and everything that was acknowledged since the run began is checked from outside: by SQL, by reading both topics from the start, and in the payment gateway's books.

| fault | what it does | calls | decided | events so far | copies so far | seconds to rest | invariants |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}

## What is checked after each

${invariants.map(({ name }) => `- ${name}`).join('\n')}
`;
}
