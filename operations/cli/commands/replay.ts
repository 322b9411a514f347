/** `replay`: has messages read again. */
import { Option, type Command } from 'commander';
import { eventTopics, type EventTopic } from '../../../events/topics';
import {
  ReplayRefusedError,
  type ReplayPlan,
  type ReplayRange,
  type ReplayRequest,
} from '../../replays';
import { time, wholeNumber } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import { UsageError } from '../../../platform/process/program';
import { countOf, formatCount, table, type Column, type Output } from '../output';

interface ReplayOptions {
  readonly topic?: EventTopic;
  readonly partition?: number;
  readonly from?: number;
  readonly to?: number;
  readonly since?: Date;
  readonly until?: Date;
  readonly aggregate?: string;
  readonly dryRun?: boolean;
}

export function addReplayCommand(program: Command, run: RunCommand): void {
  program
    .command('replay')
    .description('have messages read again, without moving the offsets of the consumer group')
    .addOption(new Option('--topic <topic>', 'of this topic').choices(eventTopics))
    .option('--partition <number>', 'of this partition', wholeNumber)
    .option('--from <offset>', 'the first offset', wholeNumber)
    .option('--to <offset>', 'the last offset', wholeNumber)
    .option('--since <time>', 'of all topics, by the timestamps of the messages (RFC 3339)', time)
    .option('--until <time>', 'before this time', time)
    .option('--aggregate <ID>', 'the logged events of this product or order')
    .option('--dry-run', 'only say what would be read, and how much of it is handled')
    .addHelpText(
      'after',
      `
Give --topic, --partition, --from and --to; or --since and --until; or --aggregate. Bridges begin within some
seconds. Events that are handled change nothing; \`verify\` names a replay that is not finished in time.

Examples:
  npm run ops -- replay --topic catalog-events --partition 3 --from 0 --to 99 --dry-run
  npm run ops -- replay --since 2026-01-31T09:30:00Z --until 2026-01-31T09:45:00Z`,
    )
    .action((options: ReplayOptions, command: Command) =>
      run(command, async ({ replays, output, name }) => {
        const request = toRequest(options);
        const operations = replays();
        let plan: ReplayPlan;
        try {
          plan = await operations.plan(request);
        } catch (error) {
          if (!(error instanceof ReplayRefusedError)) throw error;
          output.note(`${error.message} Nothing was requested.`);
          return exitCodes.failed;
        }
        const requested = options.dryRun !== true;
        if (requested) await operations.request(plan, name());
        output.result({ requested, ...plan }, () => describe(plan, requested, output));
        return exitCodes.ok;
      }),
    );
}

function toRequest(options: ReplayOptions): ReplayRequest {
  const { topic, partition, from, to, since, until, aggregate } = options;
  const given = [topic, partition, from, to, since, until, aggregate].filter(
    (value) => value !== undefined,
  ).length;
  if (topic !== undefined && partition !== undefined && from !== undefined && to !== undefined) {
    if (from > to) throw new UsageError('--to must not be below --from. Nothing was requested.');
    if (given === 4) return { topic, partition, from, to };
  }
  if (since !== undefined && until !== undefined && given === 2) {
    if (since < until) return { since, until };
    throw new UsageError('--until must be later than --since. Nothing was requested.');
  }
  if (aggregate !== undefined && given === 1) return { aggregateId: aggregate };
  throw new UsageError(
    'Give --topic, --partition, --from and --to; or --since and --until; or --aggregate. Nothing was requested.',
  );
}

function describe(
  { ranges, offsets, counted }: ReplayPlan,
  requested: boolean,
  output: Output,
): string {
  const found =
    counted === null
      ? `${countOf(offsets, 'offset')}; too many to say how many are repeats.`
      : `${countOf(counted.messages, 'message')}, ${formatCount(counted.repeats)} of them handled: repeats, which change nothing.`;
  const outcome = requested
    ? output.paint('green', 'Requested: bridges begin within some seconds.')
    : 'Dry run: nothing was requested.';
  return [table(ranges, columns, output), found, outcome].join('\n');
}

const columns: readonly Column<ReplayRange>[] = [
  { title: 'topic', of: ({ topic }) => topic },
  { title: 'partition', of: ({ partition }) => String(partition) },
  { title: 'from', of: ({ from }) => String(from) },
  { title: 'to', of: ({ to }) => String(to) },
];
