/** `verify`: checks the invariants of a live system. */
import type { Command } from 'commander';
import { wholeNumber } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import { countOf, formatCount, type Output } from '../output';
import type { Operator } from '../operator';
import {
  defaultGraceSeconds,
  verify,
  type CheckResult,
  type VerificationReport,
} from '../../verification';
import { recordVerification } from '../../verification-runs';

export function addVerifyCommand(program: Command, run: RunCommand): void {
  program
    .command('verify')
    .description('check the invariants between shop, log and metrics, in one snapshot')
    .option(
      '--grace <seconds>',
      'seconds that an event may be in flight before it counts as missing; 0 on an idle system',
      wholeNumber,
      defaultGraceSeconds,
    )
    .addHelpText(
      'after',
      `
Reads in one snapshot, and blocks nobody. Exit code 1, with the differences, when an invariant is violated.
The outcome is kept for the dashboard, the verdict and Prometheus, unless the grace is shorter than usual.

Examples:
  npm run ops -- verify
  npm run ops -- verify --grace 0 --json`,
    )
    .action(({ grace }: { grace: number }, command: Command) =>
      run(command, async (operator) => {
        const { pool, kafka, config, output } = operator;
        const startedAt = new Date();
        const report = await verify(
          { pool: pool(), kafka: kafka(), groupId: config.BRIDGE_GROUP_ID },
          { graceSeconds: grace },
        );
        output.result(report, () => report.checks.map((check) => show(check, output)).join('\n'));
        // With a shorter one, what is in flight counts as missing.
        if (grace >= defaultGraceSeconds) await keep(operator, { startedAt, report });
        return report.holds ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

/** The report is what was asked for: it stands, also where the outcome cannot be kept. */
async function keep(
  { pool, name, output }: Operator,
  run: { readonly startedAt: Date; readonly report: VerificationReport },
): Promise<void> {
  try {
    await recordVerification(pool(), { by: name(), ...run });
  } catch (error) {
    output.note(`The outcome is not kept for the dashboard: ${(error as Error).message}`);
  }
}

function show(check: CheckResult, { paint }: Output): string {
  const mark = check.holds ? paint('green', 'holds  ') : paint('red', 'DIFFERS');
  const figures = Object.entries(check.figures).map(
    ([name, figure]) => `${toWords(name)} ${formatCount(figure)}`,
  );
  const head = `${mark}  ${paint('bold', check.name.padEnd(22))} ${figures.join(', ')}`;
  if (check.holds) return head;
  const shown = check.differences.map((difference) => `           ${JSON.stringify(difference)}`);
  const left = check.differenceCount - shown.length;
  return [
    head,
    `         ${check.rule} ${countOf(check.differenceCount, 'difference')}:`,
    ...shown,
    ...(left > 0 ? [`           … and ${formatCount(left)} more`] : []),
  ].join('\n');
}

/** `confirmedOrders` as `confirmed orders`. */
function toWords(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
