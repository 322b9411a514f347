/** `dead-letters discard`. */
import { Argument, type Command } from 'commander';
import type { DiscardOutcome } from '../../../events/redrive';
import { positiveInteger } from '../arguments';
import { exitCodes, UsageError, type RunCommand } from '../command';
import { confirm } from '../confirmation';

interface DiscardOptions {
  readonly reason?: string;
  readonly by?: string;
  readonly yes?: boolean;
}

const noReason = 'no reason given';

export function addDiscardCommand(deadLetters: Command, run: RunCommand): void {
  deadLetters
    .command('discard')
    .description('discard a dead letter; keeps the record, with who did so and why')
    .addArgument(new Argument('<ID>', 'as in the list').argParser(positiveInteger))
    .option('--reason <text>', 'why; kept on record')
    .option('--by <name>', 'who does so; default: the current user')
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Its event will not take effect unless it is redriven with --again.

Example:
  npm run ops -- dead-letters discard 7 --reason "a test message"`,
    )
    .action((id: number, { reason = noReason, by, yes }: DiscardOptions, command: Command) =>
      run(command, async ({ deadLetters: operations, output, name }) => {
        if (reason.trim() === '') throw new UsageError('--reason must say why. Nothing was done.');
        const question = `Discard dead letter ${id}? Its event will never take effect.`;
        if (!(await confirm(output, question, { yes }))) return exitCodes.failed;
        const outcome = await operations().discard(id, { by: by ?? name(), reason });
        if (outcome.kind !== 'discarded') {
          output.note(whyNot(id, outcome));
          return exitCodes.failed;
        }
        output.result({ id, status: 'discarded' }, () => `Dead letter ${id} is discarded.`);
        return exitCodes.ok;
      }),
    );
}

function whyNot(id: number, outcome: Exclude<DiscardOutcome, { kind: 'discarded' }>): string {
  switch (outcome.kind) {
    case 'unknown-dead-letter':
      return `There is no dead letter ${id}.`;
    case 'settled':
      return `Dead letter ${id} is already ${outcome.status}.`;
    case 'redriving':
      return `Dead letter ${id} is being redriven.`;
  }
}
