/** `rebuild-metrics`: computes every metric anew from the log. */
import type { Command } from 'commander';
import type { RunCommand } from '../command';
import { countOf, formatCount, table, type Column } from '../output';
import { rebuildMetrics, type Corrections, type RebuildProgress } from '../rebuild-metrics';

/** Adds the command. */
export function addRebuildMetricsCommand(program: Command, run: RunCommand): void {
  program
    .command('rebuild-metrics')
    .description('compute every metric anew from the log, and put right what differs')
    .addHelpText(
      'after',
      `
Safe while events keep arriving: writers wait for a moment at the end, readers never. It asks nothing,
since the result is what the log says, and running it again changes nothing.

Examples:
  npm run ops -- rebuild-metrics
  npm run ops -- rebuild-metrics --json`,
    )
    .action((_options: unknown, command: Command) =>
      run(command, async ({ pool, output }) => {
        const report = await rebuildMetrics(pool(), {
          onProgress: (progress) => output.progress(describe(progress)),
        });
        output.result(report, () => {
          const rows = Object.entries(report.tables).map(([name, of]) => ({ name, ...of }));
          return (
            `${table(rows, columns)}\n\nThe metrics stand for ${countOf(report.events, 'event')}; ` +
            `writers waited for ${formatCount(report.lockedMs)} ms.`
          );
        });
      }),
    );
}

function describe(progress: RebuildProgress): string {
  switch (progress.step) {
    case 'adding-up':
      return `adding up: ${formatCount(progress.done)} of ${countOf(progress.total, 'event')}`;
    case 'lock-busy':
      return `writers could not be locked out; trying again (${progress.tries})`;
    case 'correcting':
      return 'comparing with the live metrics';
  }
}

const columns: readonly Column<Corrections & { readonly name: string }>[] = [
  { title: 'table', of: ({ name }) => name },
  { title: 'changed', of: ({ changed }) => formatCount(changed), align: 'right' },
  { title: 'added', of: ({ added }) => formatCount(added), align: 'right' },
  { title: 'removed', of: ({ removed }) => formatCount(removed), align: 'right' },
];
