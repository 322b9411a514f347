/** `dead-letters list`. */
import type { Command } from 'commander';
import type { DeadLetterFilter } from '../../dead-letter-filter';
import type { DeadLetter } from '../../dead-letters';
import { positiveInteger } from '../arguments';
import type { RunCommand } from '../command';
import { addFilterOptions, statusOption } from '../dead-letter-options';
import { table, type Column } from '../output';

interface ListOptions extends DeadLetterFilter {
  readonly after?: number;
  readonly limit: number;
}

export function addListCommand(deadLetters: Command, run: RunCommand): void {
  const list = deadLetters
    .command('list')
    .description('list dead letters, newest first')
    .addOption(statusOption());
  addFilterOptions(list)
    .option(
      '--after <ID>',
      'cursor: continue after this one, the last of the previous page',
      positiveInteger,
    )
    .option('--limit <number>', 'page size', positiveInteger, 50)
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- dead-letters list --status parked
  npm run ops -- dead-letters list --reason UNKNOWN_TYPE --json`,
    )
    .action(({ after, limit, ...filter }: ListOptions, command: Command) =>
      run(command, async ({ deadLetters: operations, output }) => {
        const page = await operations().list(filter, { after, limit });
        output.result(page, () => {
          if (page.deadLetters.length === 0) return 'No dead letters.';
          const more = page.next === undefined ? '' : `\n\nMore: --after ${page.next}`;
          return table(page.deadLetters, columns, output) + more;
        });
      }),
    );
}

const columns: readonly Column<DeadLetter>[] = [
  { title: 'ID', of: ({ id }) => id, align: 'right' },
  { title: 'status', of: statusOf },
  { title: 'reason', of: ({ reason }) => reason },
  { title: 'tries', of: ({ tries }) => tries, align: 'right' },
  { title: 'topic', of: ({ topic }) => topic },
  { title: 'partition', of: ({ partition }) => partition, align: 'right' },
  { title: 'offset', of: offsets, align: 'right' },
  { title: 'event', of: ({ eventId }) => eventId },
  { title: 'parked', of: ({ parkedAt }) => parkedAt },
];

/** What became of it, where it was redriven. */
function statusOf({ status, outcome, parkedAgainAs }: DeadLetter): string {
  if (outcome === 'parked-again') return `redriven, parked again as ${parkedAgainAs}`;
  return outcome === null ? status : `redriven, ${outcome}`;
}

function offsets({ offset, lastOffset }: DeadLetter): string {
  return lastOffset === null || lastOffset === offset ? `${offset}` : `${offset}–${lastOffset}`;
}
