/** `rebuild-metrics`: rebuilds projections from the audit log. */
import { Option, type Command } from 'commander';
import { exitCodes, type RunCommand } from '../command';
import { confirm } from '../confirmation';
import { countOf, formatCount, table, type Column, type Progress } from '../output';
import { projections } from '../../../projections';
import { rebuildMetrics, type Corrections, type RebuildProgress } from '../../metrics-rebuild';

export function addRebuildMetricsCommand(program: Command, run: RunCommand): void {
  program
    .command('rebuild-metrics')
    .description('rebuild the projections from the audit log, and correct what differs')
    .addOption(
      new Option('--only <table...>', 'these tables; all by default').choices(
        projections.map(({ table }) => table),
      ),
    )
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Safe on a live system: writers are blocked briefly at the end, readers never. Idempotent.
A projection that is new or changed is built by this, once every worker of the older version is
stopped.

Examples:
  npm run ops -- rebuild-metrics
  npm run ops -- rebuild-metrics --only product_metrics
  npm run ops -- rebuild-metrics --json`,
    )
    .action(({ yes, only }: { yes?: boolean; only?: string[] }, command: Command) =>
      run(command, async ({ pool, output }) => {
        const question = `Rebuild ${only?.join(', ') ?? 'every projection'}, and overwrite what differs from the audit log?`;
        if (!(await confirm(output, question, { yes }))) return exitCodes.failed;
        const report = await rebuildMetrics(pool(), {
          ...(only === undefined ? {} : { only }),
          onProgress: (progress) => output.progress(describe(progress)),
        });
        output.result(report, () => {
          const rows = Object.entries(report.tables).map(([name, of]) => ({ name, ...of }));
          return (
            `${table(rows, columns, output)}\n\nThe projections cover ${countOf(report.events, 'event')}; ` +
            `writers were blocked for ${formatCount(report.lockedMs)} ms.`
          );
        });
        return exitCodes.ok;
      }),
    );
}

function describe(progress: RebuildProgress): Progress {
  switch (progress.step) {
    case 'adding-up':
      return { doing: 'adding up events', share: progress };
    case 'lock-busy':
      return { doing: `lock timeout; retrying (${progress.tries})` };
    case 'correcting':
      return { doing: 'comparing with the live tables' };
  }
}

const columns: readonly Column<Corrections & { readonly name: string }>[] = [
  { title: 'table', of: ({ name }) => name },
  { title: 'changed', of: ({ changed }) => formatCount(changed), align: 'right' },
  { title: 'added', of: ({ added }) => formatCount(added), align: 'right' },
  { title: 'removed', of: ({ removed }) => formatCount(removed), align: 'right' },
];
