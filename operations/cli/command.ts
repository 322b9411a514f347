/** What all commands share: how they run and end. */
import type { Command } from 'commander';
import type { Operator } from './operator';

/** How a command ends. */
export const exitCodes = {
  ok: 0,
  /** It failed, or found a difference. */
  failed: 1,
  /** Usage error; nothing was done. */
  usage: 2,
} as const;

/** The exit code of a command. */
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The action of a command. @returns its exit code, unless that is 0 */
type CommandWork = (operator: Operator) => Promise<ExitCode | void>;

/** Wraps a command's action: connects on demand, runs it, and always disconnects. */
export type RunCommand = (command: Command, work: CommandWork) => Promise<void>;
