/** `after-restore`: puts right what a restored PostgreSQL says of Kafka. */
import type { Command } from 'commander';
import { exitCodes, type RunCommand } from '../command';
import { confirm } from '../confirmation';
import { countOf, formatCount, table, type Column } from '../output';
import { repairAfterRestore, type RestoreReport, type RewoundPartition } from '../../after-restore';
import type { LostDecision } from '../../shop-after-restore';

export function addAfterRestoreCommand(program: Command, run: RunCommand): void {
  program
    .command('after-restore')
    .description('after PostgreSQL was restored: have the bridge read again what the tables lack')
    .option('--dry-run', 'change nothing, and say what is missing; bridges may run')
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
Connects as the user of DATABASE_URL itself, who must own the tables, as for npm run migrate. Stop every bridge, worker and API first. Idempotent. Reads every message that Kafka still has.

Examples:
  npm run ops -- after-restore --dry-run
  npm run ops -- after-restore
  npm run ops -- after-restore --json`,
    )
    .action(({ yes, dryRun = false }: { yes?: boolean; dryRun?: boolean }, command: Command) =>
      run(command, async ({ owner, kafka, config, output }) => {
        const question = `Set the offsets of ${config.BRIDGE_GROUP_ID} back to what the tables lack?`;
        if (!dryRun && !(await confirm(output, question, { yes }))) return exitCodes.failed;
        const report = await repairAfterRestore(
          { pool: owner(), kafka: kafka(), groupId: config.BRIDGE_GROUP_ID },
          {
            isDryRun: dryRun,
            onProgress: ({ topic, partition, done, total }) =>
              output.progress({
                doing: `comparing ${topic}/${partition}`,
                share: { done, total },
              }),
          },
        );
        output.result(report, () =>
          [table(report.rewound, columns, output), '', ...summaryOf(report, dryRun)].join('\n'),
        );
        return exitCodes.ok;
      }),
    );
}

function summaryOf(
  { renumbered, rewound, lostByShop, lostDecisions, toldAnew }: RestoreReport,
  isDryRun: boolean,
): string[] {
  const missing = rewound.reduce((sum, each) => sum + each.missing, 0);
  return [
    isDryRun
      ? `${countOf(missing, 'message')} below the committed offsets neither handled nor parked; nothing was changed.`
      : `${countOf(missing, 'message')} to be read again; start the workers, and then the bridges.`,
    ...rewound.flatMap(cutLine),
    ...(isDryRun ? [] : [renumberedLine(renumbered)]),
    lostByShop.events === 0
      ? 'The shop lost nothing that Kafka tells of.'
      : `The shop lost changes that ${countOf(lostByShop.events, 'event')} in Kafka tell of, about: ${firstOf(lostByShop.aggregates)}. They are in the log, and not in the shop: see docs/recovery.md.`,
    ...toldAnewLine('stock', toldAnew.stock),
    ...toldAnewLine('likes', toldAnew.likes),
    ...(lostDecisions.length === 0
      ? []
      : [
          `The shop lost the decision of ${countOf(lostDecisions.length, 'order')}: ${firstOf(lostDecisions.map(asText))}. Those that are placed are decided again, by the books of the payment gateway; cancel the others again.`,
        ]),
  ];
}

function toldAnewLine(what: string, products: readonly string[]): string[] {
  if (products.length === 0) return [];
  return [
    `The shop tells the ${what} of ${countOf(products.length, 'product')} anew, in versions above the lost ones: ${firstOf(products)}.`,
  ];
}

const named = 100;

function firstOf(names: readonly string[]): string {
  const more = names.length - named;
  const first = names.slice(0, named).join(', ');
  return more > 0 ? `${first}, and ${formatCount(more)} more, which --json names` : first;
}

function asText({ orderId, status, told }: LostDecision): string {
  return `${orderId} (${status}, told as ${told})`;
}

const columns: readonly Column<RewoundPartition>[] = [
  { title: 'topic', of: ({ topic }) => topic },
  { title: 'partition', of: ({ partition }) => partition, align: 'right' },
  { title: 'committed before', of: ({ from }) => formatCount(from), align: 'right' },
  { title: 'now', of: ({ to }) => formatCount(to), align: 'right' },
  { title: 'missing', of: ({ missing }) => formatCount(missing), align: 'right' },
];

function cutLine({ topic, partition, from, logEnd }: RewoundPartition): string[] {
  if (logEnd === undefined) return [];
  return [
    `${topic}/${partition} ends at ${formatCount(logEnd)}, before the committed offset ${formatCount(from)}: Kafka has lost messages, too.`,
  ];
}

function renumberedLine({ eventLog, eventHandled }: RestoreReport['renumbered']): string {
  if (eventLog + eventHandled === 0) return 'No transaction ID was ahead of this server.';
  return `Transaction IDs ahead of this server have new ones: ${countOf(eventLog, 'row')} of event_log, ${countOf(eventHandled, 'row')} of event_handled.`;
}
