/** `dead-letters redrive`. */
import { Argument, type Command } from 'commander';
import type { DeadLetterFilter, ParkedFilter } from '../../dead-letter-filter';
import type { RedriveReport } from '../../dead-letters';
import { positiveInteger, positiveIntegers, wholeNumber } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import { UsageError } from '../../../platform/process/program';
import { confirm } from '../confirmation';
import { addFilterOptions, filterOf, isExpected, isFiltered } from '../dead-letter-options';
import { countOf, formatCount } from '../output';
import { runDry } from './dead-letters-check';

interface RedriveOptions extends ParkedFilter {
  readonly all?: boolean;
  readonly expect?: number;
  readonly dryRun?: boolean;
  readonly again?: boolean;
  readonly by?: string;
  readonly concurrency: number;
  readonly yes?: boolean;
}

export function addRedriveCommand(deadLetters: Command, run: RunCommand): void {
  const redrive = deadLetters
    .command('redrive')
    .description('redrive dead letters: send them back to their original topics')
    .addArgument(new Argument('[ID...]', 'which ones').argParser(positiveIntegers))
    .option('--all', 'all parked dead letters');
  addFilterOptions(redrive)
    .option('--expect <number>', 'do nothing if another number is parked and matches', wholeNumber)
    .option('--dry-run', 'only say how many would be accepted; fails when some would not')
    .option('--again', 'with IDs: redrive settled ones (redriven or discarded), too')
    .option('--by <name>', 'who asks for it; default: the current user')
    .option('--concurrency <number>', 'how many at once', positiveInteger, 16)
    .option('--yes', 'without IDs: do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Idempotent: an event takes effect once, however often it is sent, and one that fails again is parked
again. Safe to retry after an interruption. Options that filter mean the parked ones that match all of them.

Examples:
  npm run ops -- dead-letters redrive 7 8 9
  npm run ops -- dead-letters redrive --reason UNKNOWN_TYPE --dry-run
  npm run ops -- dead-letters redrive --reason UNKNOWN_TYPE --expect 84
  npm run ops -- dead-letters redrive 7 --again`,
    )
    .action((ids: readonly number[], options: RedriveOptions, command: Command) =>
      run(command, async ({ deadLetters: operations, output, name }) => {
        refuseContradictions(ids, options);
        const { by = name(), again = false, concurrency, dryRun, expect, yes } = options;
        const byFilter = ids.length === 0;
        const selected = byFilter ? await operations().select(parkedOf(options)) : ids;
        if (!isExpected(output, selected.length, expect)) return exitCodes.failed;
        if (dryRun === true) return runDry(operations(), output, selected);
        const question = `Redrive ${countOf(selected.length, 'dead letter')}?`;
        const asks = byFilter && selected.length > 0;
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

function refuseContradictions(ids: readonly number[], options: RedriveOptions): void {
  const { all = false, again = false } = options;
  const many = all || isFiltered(options);
  if (!many && ids.length === 0) {
    throw new UsageError(
      'No dead letters given: pass their IDs, or --all, or an option that filters. Nothing was done.',
    );
  }
  if (all && (ids.length > 0 || again)) {
    throw new UsageError(
      '--all takes every parked dead letter: it cannot be combined with IDs or --again. Nothing was done.',
    );
  }
  if (many && (ids.length > 0 || again)) {
    throw new UsageError(
      '--reason and the other options that filter take parked dead letters: they cannot be combined with IDs or --again. Nothing was done.',
    );
  }
}

function parkedOf(options: RedriveOptions): DeadLetterFilter {
  return { ...filterOf(options), status: 'parked' };
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
