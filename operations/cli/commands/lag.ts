/** `lag`: consumer lag of the collector, by partition. */
import type { Command } from 'commander';
import { eventTopics } from '../../../events/topics';
import {
  readGroupProgress,
  totalLag,
  type PartitionLag,
} from '../../../platform/kafka/consumer-lag';
import { exitCodes, type RunCommand } from '../command';
import { countOf, formatCount, table, type Column } from '../output';

export function addLagCommand(program: Command, run: RunCommand): void {
  program
    .command('lag')
    .description('consumer lag of the collector, by partition')
    .addHelpText(
      'after',
      `
An offset is committed once Temporal has accepted the event's workflow: no lag means that every event has been accepted, not that every event has been handled.

Examples:
  npm run ops -- lag
  npm run --silent ops -- lag --json | jq .total`,
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
          const summary = `consumer group ${group}: lag of ${countOf(total, 'message')}`;
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
