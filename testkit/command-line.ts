/** The command lines of the benchmarks and of the fault suite: a mistake is told in one line. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { ProgramOptions } from '../platform/process/program';

/** A command line asks for what there is not; the message names it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/**
 * Reads the command line of this process, as `parseArgs` of Node.js does.
 *
 * @throws UsageError for an option that is not known, or lacks its value.
 */
export function readCommandLine<Shape extends ParseArgsConfig>(
  shape: Shape,
): ReturnType<typeof parseArgs<Shape>> {
  try {
    return parseArgs(shape);
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

/** For `runProgram`: a mistake in the command line is told without a stack, with exit code 2. */
export const tellsUsage: ProgramOptions = {
  explain: (error) => (error instanceof UsageError ? error.message : error),
  exitCodeOf: (error) => (error instanceof UsageError ? 2 : 1),
};
