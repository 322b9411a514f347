/** What all commands have in common: how they are run, and how they end. */
import type { Command } from 'commander';
import type { Operator } from './operator';

/** How a command ends. */
export const exitCodes = {
  ok: 0,
  /** It failed, or found a difference. */
  failed: 1,
  /** It was called wrongly; nothing was done. */
  usage: 2,
} as const;

/** The exit code of a command. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** What a command does. @returns its exit code, unless that is 0 */
type CommandWork = (operator: Operator) => Promise<ExitCode | void>;

/** Makes the action of a command: connects on demand, does the work, and disconnects whatever happens. */
export type RunCommand = (command: Command, work: CommandWork) => Promise<void>;

/** The command was called in a way that it cannot be carried out. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}
