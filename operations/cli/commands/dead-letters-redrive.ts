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

export function addRedriveCommand(deadLetters: Command, run: RunCommand): void {
  deadLetters
    .command('redrive')
    .description('redrive dead letters: send them back to their original topics')
    .addArgument(new Argument('[ID...]', 'which ones').argParser(positiveIntegers))
    .option('--all', 'all parked dead letters')
    .option('--reason <code>', 'with --all: only those parked for this reason')
    .option('--topic <topic>', 'with --all: only those from this topic')
    .option('--again', 'with IDs: redrive settled ones (redriven or discarded), too')
    .option('--by <name>', 'who asks for it; default: the current user')
    .option('--concurrency <number>', 'how many at once', positiveInteger, 16)
    .option('--yes', 'with --all: do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Idempotent: an event takes effect once, however often it is sent, and one that fails again is parked
again. Safe to retry after an interruption.

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
        const question = `Redrive ${countOf(selected.length, 'dead letter')}?`;
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
    throw new UsageError('No dead letters given: pass their IDs, or --all. Nothing was done.');
  }
  if (all === true && (ids.length > 0 || again === true)) {
    throw new UsageError(
      '--all takes every parked dead letter: it cannot be combined with IDs or --again. Nothing was done.',
    );
  }
  if (all !== true && (reason !== undefined || topic !== undefined)) {
    throw new UsageError('--reason and --topic need --all. Nothing was done.');
  }
}

function parkedOf({ reason, topic }: RedriveOptions): DeadLetterFilter {
  return { status: 'parked', reason, topic };
}

function describe({ redriven, redrivenBefore, failed }: RedriveReport): string {
  const before = redrivenBefore === 0 ? '' : `, ${formatCount(redrivenBefore)} already redriven`;
  const lines = failed.map(({ deadLetterId, outcome }) => `${deadLetterId}: ${whyFailed(outcome)}`);
  return [`${countOf(redriven, 'dead letter')} redriven${before}.`, ...lines].join('\n');
}

function whyFailed(outcome: RedriveReport['failed'][number]['outcome']): string {
  switch (outcome.kind) {
    case 'unknown-dead-letter':
      return 'not found';
    case 'settled':
      return `already ${outcome.status}; use --again to redrive it anyway`;
    case 'unreadable':
      return 'UNREADABLE: Kafka returned no readable message, so there is nothing to send; inspect its bytes, then discard it';
    case 'refused':
      return outcome.detail;
  }
}
