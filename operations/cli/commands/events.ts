/** `events`: the audit log page by page, and the journey of one event. */
import { Option, type Command } from 'commander';
import { eventTypes, type EventType } from '../../../events/schemas';
import { positiveInteger } from '../arguments';
import type { RunCommand } from '../command';
import { readEventPage, type ListedEvent } from '../event-list';
import { table, type Column } from '../output';
import { addShowCommand } from './events-show';

interface ListOptions {
  readonly type?: EventType;
  readonly aggregateId?: string;
  readonly after?: string;
  readonly limit: number;
}

export function addEventCommands(program: Command, run: RunCommand): void {
  const events = program
    .command('events')
    .description('audit log of accepted events, and the journey of each')
    .addHelpText('after', '\nExample:\n  npm run ops -- events list --limit 10');
  events
    .command('list')
    .description('list events, newest first')
    .addOption(new Option('--type <type>', 'only of this type').choices(eventTypes))
    .option('--aggregate-id <id>', 'only about this product or order')
    .option(
      '--after <event ID>',
      'cursor: continue after this event, the last of the previous page',
    )
    .option('--limit <number>', 'page size', positiveInteger, 50)
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- events list --type OrderConfirmed --limit 10
  npm run ops -- events list --aggregate-id p1 --json`,
    )
    .action(({ type, aggregateId, after, limit }: ListOptions, command: Command) =>
      run(command, async ({ pool, output }) => {
        const page = await readEventPage(pool(), { type, aggregateId }, { after, limit });
        output.result(page, () => {
          if (page.events.length === 0) return 'No events.';
          const more = page.next === undefined ? '' : `\n\nMore: --after ${page.next}`;
          return table(page.events, columns, output) + more;
        });
      }),
    );
  addShowCommand(events, run);
}

const columns: readonly Column<ListedEvent>[] = [
  { title: 'recorded', of: ({ recordedAt }) => recordedAt },
  { title: 'type', of: ({ type }) => type },
  { title: 'aggregate', of: ({ aggregateId }) => aggregateId },
  { title: 'event', of: ({ eventId }) => eventId },
  { title: 'handled by', of: ({ workflowId }) => workflowId },
];
