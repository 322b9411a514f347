/** The options of commands that are about several dead letters. */
import { Option, type Command } from 'commander';
import type { DeadLetterStatus } from '../../events/redrive';
import type { ParkedFilter } from '../dead-letter-filter';
import { deadLetterReasons } from '../dead-letter-reasons';
import { time } from './arguments';
import { formatCount, type Output } from './output';

/** Adds the options that a filter has; their values are a {@link ParkedFilter}. */
export function addFilterOptions(command: Command): Command {
  return addPlaceOptions(
    command.addOption(reasonOption('--reason <code>', 'only for this reason')),
  );
}

/** The same without the reason, for a command whose own reason is another. */
export function addPlaceOptions(command: Command): Command {
  return command
    .option('--topic <topic>', 'only from this topic')
    .option('--producer <name>', "only from this producer; '' for those that name none")
    .option('--since <time>', 'only parked at this time (RFC 3339) or later', time)
    .option('--until <time>', 'only parked before this time (RFC 3339)', time);
}

/** An option whose value is one of the reasons for which messages are parked. */
export function reasonOption(flags: string, description: string): Option {
  return new Option(flags, description).choices(deadLetterReasons);
}

/** The option of a status. */
export function statusOption(): Option {
  const statuses: readonly DeadLetterStatus[] = ['parked', 'redriven', 'discarded'];
  return new Option('--status <status>', 'only in this status').choices(statuses);
}

/** The filter among a command's options. */
export function filterOf({ reason, topic, producer, since, until }: ParkedFilter): ParkedFilter {
  return { reason, topic, producer, since, until };
}

/** Whether any of the options of a filter was given. */
export function isFiltered(options: ParkedFilter): boolean {
  return Object.values(filterOf(options)).some((value) => value !== undefined);
}

/** Whether as many match as expected, or nothing was expected; otherwise says how many do. */
export function isExpected(
  output: Pick<Output, 'note'>,
  matched: number,
  expected: number | undefined,
): boolean {
  if (expected === undefined || expected === matched) return true;
  const counts = `${formatCount(matched)} parked dead letters match, not ${formatCount(expected)}`;
  output.note(`${counts}. Nothing was done.`);
  return false;
}
