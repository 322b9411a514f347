/** `dead-letters discard`. */
import { Argument, type Command } from 'commander';
import type { DiscardOutcome } from '../../../events/redrive';
import type { ParkedFilter } from '../../dead-letter-filter';
import type { DiscardReport } from '../../dead-letters';
import { positiveInteger, wholeNumber } from '../arguments';
import { exitCodes, type ExitCode, type RunCommand } from '../command';
import { UsageError } from '../../../platform/process/program';
import { confirm } from '../confirmation';
import {
  addPlaceOptions,
  filterOf,
  isExpected,
  isFiltered,
  reasonOption,
} from '../dead-letter-options';
import type { Operator } from '../operator';
import { countOf } from '../output';
import { runDry } from './dead-letters-check';

interface DiscardOptions extends Omit<ParkedFilter, 'reason'> {
  readonly all?: boolean;
  readonly parkedFor?: string;
  readonly expect?: number;
  readonly dryRun?: boolean;
  readonly reason?: string;
  readonly by?: string;
  readonly yes?: boolean;
}

const noReason = 'no reason given';

export function addDiscardCommand(deadLetters: Command, run: RunCommand): void {
  const discard = deadLetters
    .command('discard')
    .description('discard dead letters; keeps the record, with who did so and why')
    .addArgument(new Argument('[ID]', 'as in the list').argParser(positiveInteger))
    .option('--all', 'all parked dead letters')
    .addOption(reasonOption('--parked-for <code>', 'only those parked for this reason'));
  addPlaceOptions(discard)
    .option('--expect <number>', 'do nothing if another number is parked and matches', wholeNumber)
    .option('--dry-run', 'only say how many match, and how many would be accepted now')
    .option('--reason <text>', 'why; kept on record')
    .option('--by <name>', 'who does so; default: the current user')
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Their events will not take effect unless they are redriven with --again. Options that filter mean the
parked ones that match all of them.

Examples:
  npm run ops -- dead-letters discard 7 --reason "a test message"
  npm run ops -- dead-letters discard --parked-for NOT_JSON --expect 84 --reason "test messages"`,
    )
    .action((id: number | undefined, options: DiscardOptions, command: Command) =>
      run(command, async (operator) => {
        refuseContradictions(id, options);
        return id === undefined
          ? discardMatching(operator, options)
          : discardOne(operator, id, options);
      }),
    );
}

function refuseContradictions(id: number | undefined, options: DiscardOptions): void {
  const { reason = noReason, all = false, expect, dryRun } = options;
  if (reason.trim() === '') throw new UsageError('--reason must say why. Nothing was done.');
  const many = all || isFiltered(toFilter(options));
  if (!many && id === undefined) {
    throw new UsageError(
      'No dead letter given: pass its ID, or --all, or an option that filters. Nothing was done.',
    );
  }
  if (id !== undefined && (many || expect !== undefined || dryRun !== undefined)) {
    throw new UsageError(
      'An ID cannot be combined with --all, --expect, --dry-run or options that filter. Nothing was done.',
    );
  }
}

async function discardOne(
  { deadLetters: operations, output, name }: Operator,
  id: number,
  { reason = noReason, by = name(), yes }: DiscardOptions,
): Promise<ExitCode> {
  const question = `Discard dead letter ${id}? Its event will never take effect.`;
  if (!(await confirm(output, question, { yes }))) return exitCodes.failed;
  const outcome = await operations().discard(id, { by, reason });
  if (outcome.kind !== 'discarded') {
    output.note(whyNot(id, outcome));
    return exitCodes.failed;
  }
  output.result({ id, status: 'discarded' }, () => `Dead letter ${id} is discarded.`);
  return exitCodes.ok;
}

async function discardMatching(
  { deadLetters: operations, output, name }: Operator,
  { reason = noReason, by = name(), expect, dryRun, yes, ...options }: DiscardOptions,
): Promise<ExitCode> {
  const selected = await operations().select({ ...toFilter(options), status: 'parked' });
  if (!isExpected(output, selected.length, expect)) return exitCodes.failed;
  if (dryRun === true) {
    await runDry(operations(), output, selected);
    return exitCodes.ok;
  }
  const question = `Discard ${countOf(selected.length, 'dead letter')}? Their events will never take effect.`;
  if (selected.length > 0 && !(await confirm(output, question, { yes }))) return exitCodes.failed;
  const report = await operations().discardMany(selected, {
    by,
    reason,
    onProgress: (share) => output.progress({ doing: 'discarding', share }),
  });
  output.result(report, () => describe(report));
  return report.failed.length === 0 ? exitCodes.ok : exitCodes.failed;
}

function toFilter({ parkedFor: reason, ...options }: DiscardOptions): ParkedFilter {
  return filterOf({ ...options, reason });
}

function describe({ discarded, failed }: DiscardReport): string {
  const lines = failed.map(({ deadLetterId, outcome }) => whyNot(deadLetterId, outcome));
  return [`${countOf(discarded, 'dead letter')} discarded.`, ...lines].join('\n');
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
