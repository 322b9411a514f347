/** The command lines of the benchmarks and of the fault suite: a mistake is told without a stack. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { UsageError, type ProgramOptions } from '../platform/process/program';

/**
 * Reads the command line of this process, as `parseArgs` of Node.js does.
 *
 * @throws UsageError for an option that is not known or lacks its value, and for a word too many.
 */
export function readCommandLine<Shape extends ParseArgsConfig>(
  shape: Shape,
): ReturnType<typeof parseArgs<Shape>> {
  try {
    return parseArgs(shape);
  } catch (cause) {
    if (!isMistakeOfCaller(cause)) throw cause;
    throw new UsageError(cause.message, { cause });
  }
}

function isMistakeOfCaller(error: unknown): error is NodeJS.ErrnoException {
  return String((error as NodeJS.ErrnoException).code).startsWith(parsing);
}

const parsing = 'ERR_PARSE_ARGS_';

/** For `runProgram`: a mistake in the command line is told without a stack, with exit code 2. */
export const tellsUsage: ProgramOptions = {
  explain: (error) => (error instanceof UsageError ? error.message : error),
  exitCodeOf: (error) => (error instanceof UsageError ? 2 : 1),
};
