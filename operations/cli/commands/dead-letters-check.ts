/** `dead-letters check`, and the dry run of other commands. */
import { Argument, type Command } from 'commander';
import { summarize, type CheckedDeadLetter, type CheckReport } from '../../dead-letter-check';
import type { DeadLetterOperations } from '../../dead-letters';
import { positiveIntegers } from '../arguments';
import { exitCodes, type ExitCode, type RunCommand } from '../command';
import { countOf, formatCount, type Output } from '../output';

export function addCheckCommand(deadLetters: Command, run: RunCommand): void {
  deadLetters
    .command('check')
    .description('find out whether the bridge would accept dead letters now; writes nothing')
    .addArgument(new Argument('<ID...>', 'which ones').argParser(positiveIntegers))
    .addHelpText(
      'after',
      `
Fails when one of them would be parked again, or does not exist. Whether an accepted event can be applied
shows only once it is redriven.

Examples:
  npm run ops -- dead-letters check 7 8 9
  npm run ops -- dead-letters redrive --reason UNKNOWN_TYPE --dry-run`,
    )
    .action((ids: number[], _options: unknown, command: Command) =>
      run(command, async ({ deadLetters: operations, output }) => {
        const checked = await operations().check(ids);
        const known = new Set(checked.map(({ id }) => id));
        const unknown = ids.filter((id) => !known.has(id));
        for (const id of unknown) output.note(`There is no dead letter ${id}.`);
        output.result(checked, () => checked.map(describe).join('\n'));
        return unknown.length === 0 && checked.every(({ parses }) => parses)
          ? exitCodes.ok
          : exitCodes.failed;
      }),
    );
}

/** Prints what the bridge would say of these. @returns success if it would accept all of them */
export async function runDry(
  operations: Pick<DeadLetterOperations, 'check'>,
  output: Output,
  deadLetterIds: readonly number[],
): Promise<ExitCode> {
  const report = summarize(deadLetterIds.length, await operations.check(deadLetterIds));
  output.result(report, () => describeAll(report));
  return report.parses === report.matched ? exitCodes.ok : exitCodes.failed;
}

function describe(checked: CheckedDeadLetter): string {
  return checked.parses
    ? `${checked.id}: would be accepted, ${checked.type} ${checked.eventId}`
    : `${checked.id}: would be parked again, ${checked.reason}: ${checked.detail}`;
}

function describeAll({ matched, parses, refusals }: CheckReport): string {
  const lines = refusals.map(
    ({ reason, count, exampleId, detail }) =>
      `${formatCount(count)} would be parked again, ${reason}: ${detail} (such as ${exampleId})`,
  );
  const accepted = `${formatCount(parses)} would be accepted.`;
  return [`${countOf(matched, 'dead letter')}; nothing was done.`, accepted, ...lines].join('\n');
}
