/** `dead-letters redrive`. */
import { Argument, type Command } from 'commander';
import type { DeadLetterFilter, RedriveReport } from '../../dead-letters';
import { positiveInteger, positiveIntegers } from '../arguments';
import { exitCodes, UsageError, type RunCommand } from '../command';
import { confirm } from '../confirmation';
import { countOf, formatCount } from '../output';

interface RedriveOptions {
  readonly all?: boolean;
  readonly reason?: string;
  readonly topic?: string;
  readonly again?: boolean;
  readonly by?: string;
  readonly concurrency: number;
  readonly yes?: boolean;
}

/** Adds the command. */
export function addRedriveCommand(deadLetters: Command, run: RunCommand): void {
  deadLetters
    .command('redrive')
    .description('send dead letters back to the topics that they came from')
    .addArgument(new Argument('[ID...]', 'which ones').argParser(positiveIntegers))
    .option('--all', 'all that are parked now')
    .option('--reason <code>', 'with --all: only those parked for this reason')
    .option('--topic <topic>', 'with --all: only those from this topic')
    .option('--again', 'with IDs: also those that are redriven or discarded')
    .option('--by <name>', 'who asks for it; the name of this user if not given')
    .option('--concurrency <number>', 'most at once', positiveInteger, 16)
    .option('--yes', 'with --all: do not ask, on a terminal')
    .addHelpText(
      'after',
      `
It is safe: an event takes effect once, however often it is sent, and one that fails again is parked
again. What was interrupted can be run again.

Examples:
  npm run ops -- dead-letters redrive 7 8 9
  npm run ops -- dead-letters redrive --all --reason UNKNOWN_TYPE
  npm run ops -- dead-letters redrive 7 --again`,
    )
    .action((ids: number[] | undefined, options: RedriveOptions, command: Command) =>
      run(command, async ({ deadLetters: operations, output, name }) => {
        refuseContradictions(ids ?? [], options);
        const { all = false, by = name(), again = false, concurrency, yes } = options;
        const selected = all ? await operations().select(parkedOf(options)) : (ids ?? []);
        const question = `Send ${countOf(selected.length, 'dead letter')} back?`;
        const asks = all && selected.length > 0;
        if (asks && !(await confirm(output, question, { yes }))) return exitCodes.failed;
        const report = await operations().redriveMany(selected, {
          by,
          again,
          concurrency,
          onProgress: (share) => output.progress({ doing: 'redriving', share }),
        });
        output.result(report, () => describe(report));
        return report.failed.length === 0 ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

function refuseContradictions(
  ids: readonly number[],
  { all, reason, topic, again }: RedriveOptions,
): void {
  if (all !== true && ids.length === 0) {
    throw new UsageError('Say which dead letters: their IDs, or --all. Nothing was done.');
  }
  if (all === true && (ids.length > 0 || again === true)) {
    throw new UsageError(
      '--all is for everything that is parked: it goes without IDs and without --again. Nothing was done.',
    );
  }
  if (all !== true && (reason !== undefined || topic !== undefined)) {
    throw new UsageError('--reason and --topic go with --all. Nothing was done.');
  }
}

function parkedOf({ reason, topic }: RedriveOptions): DeadLetterFilter {
  return { status: 'parked', reason, topic };
}

function describe({ redriven, redrivenBefore, failed }: RedriveReport): string {
  const before = redrivenBefore === 0 ? '' : `, ${formatCount(redrivenBefore)} redriven before`;
  const lines = failed.map(({ deadLetterId, outcome }) => `${deadLetterId}: ${whyFailed(outcome)}`);
  return [`${countOf(redriven, 'dead letter')} redriven${before}.`, ...lines].join('\n');
}

function whyFailed(outcome: RedriveReport['failed'][number]['outcome']): string {
  switch (outcome.kind) {
    case 'unknown-dead-letter':
      return 'there is no such dead letter';
    case 'settled':
      return `${outcome.status} before; to send it all the same: --again`;
    case 'unreadable':
      return 'UNREADABLE: no message could be read there, so there is none to send; look at its bytes, then discard it';
    case 'refused':
      return outcome.detail;
  }
}
