/** `status`: the state of the whole system on one screen. */
import type { Command } from 'commander';
import { totalLag } from '../../../platform/kafka/consumer-lag';
import { toStatusAnswer } from '../../status/answer';
import type { Measured, Verification } from '../../status/measurements';
import type { SystemState } from '../../status/status';
import { describeAge, describeWaiting } from '../../status/verdict';
import { exitCodes, type RunCommand } from '../command';
import { countOf, type Output } from '../output';

export function addStatusCommand(program: Command, run: RunCommand): void {
  program
    .command('status')
    .description('how the whole system is: what is wrong, what waits, what runs')
    .addHelpText(
      'after',
      `
With --json, the same as GET /v1/status answers. Exit code 1 unless the verdict is ok: something is wrong, or could not be measured.

Examples:
  npm run ops -- status
  npm run --silent ops -- status --json | jq .verdict`,
    )
    .action((_options: unknown, command: Command) =>
      run(command, async ({ systemState, output }) => {
        const state = await systemState();
        output.result(toStatusAnswer(state), () => describe(state, output));
        return state.verdict === 'ok' ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

const verdictStyles = {
  ok: 'green',
  degraded: 'yellow',
  unknown: 'yellow',
  unavailable: 'red',
} as const;

function describe(state: SystemState, output: Output): string {
  const { verdict, problems } = toStatusAnswer(state);
  const { paint } = output;
  const lines = factsOf(state).map(
    ([name, value]) => `${paint('bold', name.padEnd(longestName))}  ${value}`,
  );
  const wrong = problems.flatMap(({ sentence, runbook, verdict: how }) => [
    paint(verdictStyles[how], sentence),
    `  What to do: ${runbook}`,
  ]);
  const unknown = state.unmeasured.map(({ what, reason }) =>
    paint('yellow', `Unknown: ${what} (${reason})`),
  );
  return [
    paint(verdictStyles[verdict], verdict.toUpperCase()),
    ...wrong,
    ...unknown,
    '',
    ...lines,
  ].join('\n');
}

type Fact = readonly [name: string, value: string];

const longestName = 'verification'.length;

function factsOf({ measurements }: SystemState): Fact[] {
  const { at, servers, counts, lag, processes, audit } = measurements;
  const waiting = (what: 'outbox' | 'orders' | 'deadLetters', unit: string): string =>
    textOf(counts, (counted) => describeWaiting(counted[what], unit, at));
  return [
    ['servers', servers.map(({ name, status }) => `${name} ${status}`).join(', ')],
    [
      'processes',
      textOf(processes, (each) =>
        each.map(({ name, running }) => `${name} ${running ?? 'unknown'}`).join(', '),
      ),
    ],
    [
      'bridges',
      textOf(
        counts,
        ({ bridges }) =>
          bridges
            .map(({ id, mode, inFlight, slots, pausedBy }) =>
              [`${id} ${mode}, ${inFlight} of ${slots} slots`, ...pausedBy].join(', '),
            )
            .join('; ') || 'none',
      ),
    ],
    ['outbox', waiting('outbox', 'event')],
    ['lag', textOf(lag, (partitions) => countOf(totalLag(partitions), 'message'))],
    ['orders', waiting('orders', 'undecided order')],
    ['dead letters', waiting('deadLetters', 'dead letter')],
    ['verification', textOf(counts, ({ verification }) => verificationOf(verification, at))],
    ['audit', textOf(audit, (last) => (last === undefined ? 'none yet' : auditOf(last, at)))],
  ];
}

function textOf<Value>(measured: Measured<Value>, text: (value: Value) => string): string {
  return 'value' in measured ? text(measured.value) : 'unknown';
}

function verificationOf(verification: Verification | null, at: Date): string {
  if (verification === null) return 'none yet';
  const { finishedAt, outcome, violated } = verification;
  const found = outcome === 'holds' ? 'all figures add up' : `violated: ${violated.join(', ')}`;
  return `ended ${describeAge(at.getTime() - finishedAt.getTime())} ago: ${found}`;
}

function auditOf(
  { startedAt, failure, findings }: { startedAt: Date; failure: string | null; findings: object },
  at: Date,
): string {
  const found = Object.entries(findings).map(([kind, count]) => `${count} ${kind}`);
  const outcome = failure ?? (found.length === 0 ? 'nothing found' : found.join(', '));
  return `began ${describeAge(at.getTime() - startedAt.getTime())} ago: ${outcome}`;
}
