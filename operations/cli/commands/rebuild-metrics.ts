/** `rebuild-metrics`: computes every metric anew from the log. */
import type { Command } from 'commander';
import { exitCodes, type RunCommand } from '../command';
import { confirm } from '../confirmation';
import { countOf, formatCount, table, type Column, type Progress } from '../output';
import { rebuildMetrics, type Corrections, type RebuildProgress } from '../../metrics-rebuild';

/** Adds the command. */
export function addRebuildMetricsCommand(program: Command, run: RunCommand): void {
  program
    .command('rebuild-metrics')
    .description('compute every metric anew from the log, and put right what differs')
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Safe while events keep arriving: writers wait for a moment at the end, readers never. The result is
what the log says, and running it again changes nothing.

Examples:
  npm run ops -- rebuild-metrics
  npm run ops -- rebuild-metrics --json`,
    )
    .action(({ yes }: { yes?: boolean }, command: Command) =>
      run(command, async ({ pool, output }) => {
        const question = 'Compute every metric anew, and overwrite those that differ from the log?';
        if (!(await confirm(output, question, { yes }))) return exitCodes.failed;
        const report = await rebuildMetrics(pool(), {
          onProgress: (progress) => output.progress(describe(progress)),
        });
        output.result(report, () => {
          const rows = Object.entries(report.tables).map(([name, of]) => ({ name, ...of }));
          return (
            `${table(rows, columns, output)}\n\nThe metrics stand for ${countOf(report.events, 'event')}; ` +
            `writers waited for ${formatCount(report.lockedMs)} ms.`
          );
        });
        return exitCodes.ok;
      }),
    );
}

function describe(progress: RebuildProgress): Progress {
  switch (progress.step) {
    case 'adding-up':
      return { doing: 'adding events up', share: progress };
    case 'lock-busy':
      return { doing: `writers could not be locked out; trying again (${progress.tries})` };
    case 'correcting':
      return { doing: 'comparing with the live metrics' };
  }
}

const columns: readonly Column<Corrections & { readonly name: string }>[] = [
  { title: 'table', of: ({ name }) => name },
  { title: 'changed', of: ({ changed }) => formatCount(changed), align: 'right' },
  { title: 'added', of: ({ added }) => formatCount(added), align: 'right' },
  { title: 'removed', of: ({ removed }) => formatCount(removed), align: 'right' },
];
