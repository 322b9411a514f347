/** `lag`: how far the collector is behind, for each partition. */
import type { Command } from 'commander';
import { eventTopics } from '../../../events/topics';
import {
  readGroupProgress,
  totalLag,
  type PartitionLag,
} from '../../../platform/kafka/consumer-lag';
import { exitCodes, type RunCommand } from '../command';
import { countOf, formatCount, table, type Column } from '../output';

/** Adds the command. */
export function addLagCommand(program: Command, run: RunCommand): void {
  program
    .command('lag')
    .description('how far the collector is behind the ends of its topics')
    .addHelpText(
      'after',
      `
An offset is committed when Temporal has taken the event's workflow: no lag means that every event is
taken up, not that every one is handled.

Examples:
  npm run ops -- lag
  npm run ops -- lag --json | jq .total`,
    )
    .action((_options: unknown, command: Command) =>
      run(command, async ({ config, kafka, output }) => {
        const group = config.BRIDGE_GROUP_ID;
        const progress = await readGroupProgress(kafka(), group, eventTopics);
        const { partitions } = progress;
        const total = totalLag(partitions);
        const unreadable = progress.unreadable.map(({ topic, error }) => ({
          topic,
          problem: error.message,
        }));
        output.result({ group, total, partitions, unreadable }, () => {
          const summary = `${countOf(total, 'message')} behind in group ${group}`;
          return [
            table(partitions, columns, output),
            '',
            output.paint(total > 0 ? 'yellow' : 'green', summary),
            ...unreadable.map(({ topic, problem }) =>
              output.paint('red', `${topic} cannot be read: ${problem}`),
            ),
          ].join('\n');
        });
        return unreadable.length === 0 ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

const columns: readonly Column<PartitionLag>[] = [
  { title: 'topic', of: ({ topic }) => topic },
  { title: 'partition', of: ({ partition }) => partition, align: 'right' },
  {
    title: 'committed',
    of: ({ committed }) => (committed === null ? null : formatCount(committed)),
    align: 'right',
  },
  { title: 'end', of: ({ end }) => formatCount(end), align: 'right' },
  { title: 'held back by', of: ({ heldBackBy }) => heldBackBy ?? null },
  { title: 'lag', of: ({ lag }) => formatCount(lag), align: 'right' },
];
