/** `consumption`, `pause`, `resume`, `throttle`: what of the consumption is held or bounded. */
import { Argument, InvalidArgumentError, Option, type Command } from 'commander';
import { describeScope, type ConsumptionScope } from '../../../events/consumption-scope';
import { eventTopics } from '../../../events/topics';
import type { Consumption, ConsumptionHold, TopicLimit } from '../../consumption';
import { positiveInteger, wholeNumber } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import { UsageError } from '../../../platform/process/program';
import type { Operator } from '../operator';
import { countOf, table, type Column, type Output } from '../output';

interface ReasonOptions {
  readonly reason: string;
  readonly by?: string;
}

interface ScopeOptions extends ReasonOptions {
  readonly topic?: string;
  readonly partition?: number;
}

export function addConsumptionCommands(program: Command, run: RunCommand): void {
  program
    .command('consumption')
    .description('what of the consumption is held or bounded, by whom and why')
    .action((_options: unknown, command: Command) => run(command, show));

  addReason(addScope(program.command('pause')))
    .description('hold consumption of everything, a topic or a partition, for every bridge')
    .addHelpText(
      'after',
      `
Bridges follow within some seconds, and those that start later, too; what they have taken is handled.
Messages wait in Kafka, as long as it keeps them. Needs neither Kafka nor Temporal.

Examples:
  npm run ops -- pause --reason "the database is being moved"
  npm run ops -- pause --topic order-events --partition 3 --reason "a message that nobody can handle"`,
    )
    .action((options: ScopeOptions, command: Command) =>
      run(command, async (operator) => {
        const scope = toScope(options);
        if (await operator.consumption().pause(scope, justificationOf(operator, options))) {
          return show(operator);
        }
        operator.output.note(
          `Consumption of ${describeScope(scope)} is held already; nothing was changed.`,
        );
        return exitCodes.failed;
      }),
    );

  addReason(addScope(program.command('resume')))
    .description('end the hold of exactly this: without a topic, that of everything')
    .addHelpText(
      'after',
      `
What else is held stays held.

Example:
  npm run ops -- resume --topic order-events --partition 3 --reason "fixed by the release"`,
    )
    .action((options: ScopeOptions, command: Command) =>
      run(command, async (operator) => {
        const scope = toScope(options);
        if (await operator.consumption().resume(scope, justificationOf(operator, options))) {
          return show(operator);
        }
        operator.output.note(
          `Consumption of ${describeScope(scope)} is not held as such; nothing was changed.`,
        );
        return exitCodes.failed;
      }),
    );

  addReason(addTopic(program.command('throttle')))
    .description('bound the rate at which all bridges together consume everything or a topic')
    .addArgument(
      new Argument('<RATE>', 'messages per second, or off').argParser((text) =>
        text === 'off' ? null : readRate(text),
      ),
    )
    .addHelpText(
      'after',
      `
In place of the bound of exactly this; that of a topic and that of everything both hold. Each running bridge
takes an equal part: never more, and less where the partitions with messages belong to a few of them.

Examples:
  npm run ops -- throttle 50 --reason "the database is slow"
  npm run ops -- throttle 20 --topic order-events --reason "a receiver of notifications is slow"
  npm run ops -- throttle off --reason "it is not"`,
    )
    .action((messagesPerSecond: number | null, options: ScopeOptions, command: Command) =>
      run(command, async (operator) => {
        const { topic = null } = options;
        const why = justificationOf(operator, options);
        await operator.consumption().throttle({ topic, messagesPerSecond }, why);
        return show(operator);
      }),
    );
}

function addScope(command: Command): Command {
  return addTopic(command).option(
    '--partition <number>',
    'only this partition of the topic',
    wholeNumber,
  );
}

function addTopic(command: Command): Command {
  return command.addOption(new Option('--topic <topic>', 'only this topic').choices(eventTopics));
}

function addReason(command: Command): Command {
  return command
    .requiredOption('--reason <text>', 'why, up to 500 characters; shown and kept on record')
    .option('--by <name>', 'who does so; default: the current user');
}

/** Most that the API takes, too. */
const maxMessagesPerSecond = 1_000_000;

function readRate(text: string): number {
  const rate = positiveInteger(text);
  if (rate <= maxMessagesPerSecond) return rate;
  throw new InvalidArgumentError(`It must be at most ${maxMessagesPerSecond}.`);
}

function toScope({ topic, partition }: ScopeOptions): ConsumptionScope {
  if (partition !== undefined && topic === undefined) {
    throw new UsageError('--partition needs --topic. Nothing was done.');
  }
  return { topic: topic ?? null, partition: partition ?? null };
}

function justificationOf({ name }: Operator, { reason, by = name() }: ReasonOptions) {
  if (reason.trim() === '' || reason.length > 500) {
    throw new UsageError('--reason must say why, in up to 500 characters. Nothing was done.');
  }
  return { by, reason };
}

async function show({ consumption, output }: Operator) {
  const now = await consumption().read();
  output.result(now, () => describe(now, output));
  return exitCodes.ok;
}

function describe({ holds, limit, topicLimits }: Consumption, output: Output): string {
  const lines =
    holds.length === 0
      ? [output.paint('green', 'Nothing is held.')]
      : [table(holds, columns, output)];
  const bounds = [...(limit === null ? [] : [{ ...limit, topic: null }]), ...topicLimits];
  return [...lines, ...bounds.map((bound) => output.paint('yellow', inWords(bound)))].join('\n');
}

function inWords({
  topic,
  messagesPerSecond,
  by,
  since,
  reason,
}: Omit<TopicLimit, 'topic'> & { readonly topic: string | null }): string {
  const rate = countOf(messagesPerSecond, 'message');
  const scope = topic === null ? '' : ` of ${topic}`;
  return `At most ${rate} per second${scope}, by ${by} since ${since}: ${reason}`;
}

const columns: readonly Column<ConsumptionHold>[] = [
  { title: 'held', of: describeScope },
  { title: 'by', of: ({ by }) => by },
  { title: 'since', of: ({ since }) => since },
  { title: 'reason', of: ({ reason }) => reason },
];
