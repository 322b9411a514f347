/** `dead-letters groups`. */
import type { Command } from 'commander';
import type { DeadLetterFilter } from '../../dead-letter-filter';
import type { DeadLetterGroup } from '../../dead-letter-groups';
import type { RunCommand } from '../command';
import { addFilterOptions, statusOption } from '../dead-letter-options';
import { countOf, formatCount, table, type Column } from '../output';

export function addGroupsCommand(deadLetters: Command, run: RunCommand): void {
  const groups = deadLetters
    .command('groups')
    .description('group dead letters by reason, topic and producer, the largest group first')
    .addOption(statusOption().default('parked'));
  addFilterOptions(groups)
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- dead-letters groups
  npm run ops -- dead-letters groups --status redriven --since 2026-01-31T09:30:00Z`,
    )
    .action((filter: DeadLetterFilter, command: Command) =>
      run(command, async ({ deadLetters: operations, output }) => {
        const found = await operations().groups(filter);
        output.result(found, () => {
          if (found.count === 0) return 'No dead letters.';
          const total = `${countOf(found.count, 'dead letter')} in ${countOf(found.groupCount, 'group')}.`;
          return `${table(found.groups, columns, output)}\n\n${total}`;
        });
      }),
    );
}

const columns: readonly Column<DeadLetterGroup>[] = [
  { title: 'count', of: ({ count }) => formatCount(count), align: 'right' },
  { title: 'reason', of: ({ reason }) => reason },
  { title: 'topic', of: ({ topic }) => topic },
  { title: 'producer', of: ({ producer }) => producer },
  { title: 'first seen', of: ({ firstSeenAt }) => firstSeenAt },
  { title: 'last seen', of: ({ lastSeenAt }) => lastSeenAt },
];
