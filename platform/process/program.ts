/**
 * A program that does one piece of work and ends. Its exit code is 0 only if the work came to its end:
 * Node.js itself ends a process with 0 as soon as nothing is left to wait for, also in the middle of
 * an `await`, and whoever started it would take that for success.
 */

/** How a program ends. */
export interface ProgramOptions {
  /** What standard error says of an error; by default all of it, with its stack and causes. */
  explain?(error: unknown): unknown;
  /** The exit code after an error, by default 1. */
  exitCodeOf?(error: unknown): number;
  /**
   * Ends quietly once nobody reads standard output any more, as after `| head`, with the exit code of a
   * command that SIGPIPE ends. Not for work that has something to undo.
   */
  endsWithReader?: boolean;
  /** Exits when the work is done, without waiting for connections that it left open. */
  exitAtOnce?: boolean;
}

/** A command line asks for what there is not, or for what does not fit together; the message names it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'USAGE';
}

/** The exit code of work that never came to its end; Node.js has it for a top-level `await`. */
const unfinishedExitCode = 13;

/** 128 and the number of SIGPIPE, as a shell reports a command that it ends. Node.js ignores the signal. */
const readerGoneExitCode = 141;

/**
 * Runs `work` as the whole of this process, which exits with the code that it answers, 0 by default.
 * An error is written to standard error and gives exit code 1.
 */
export function runProgram(
  work: () => Promise<number | void>,
  {
    explain = (error) => error,
    exitCodeOf = () => 1,
    endsWithReader = false,
    exitAtOnce = false,
  }: ProgramOptions = {},
): void {
  const tellUnfinished = (): void =>
    console.error('The program ended before its work was done: nothing was left to wait for.');
  process.exitCode = unfinishedExitCode;
  process.once('exit', tellUnfinished);
  const finish = (exitCode: number): void => {
    process.removeListener('exit', tellUnfinished);
    process.exitCode = exitCode;
    if (exitAtOnce) process.exit();
  };
  if (endsWithReader) {
    onReaderGone(() => {
      process.removeListener('exit', tellUnfinished);
      process.exit(readerGoneExitCode);
    });
  }
  work().then(
    (exitCode) => finish(exitCode ?? 0),
    (error: unknown) => {
      console.error(explain(error));
      finish(exitCodeOf(error));
    },
  );
}

function onReaderGone(end: () => never): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    end();
  });
  // Without a reader of messages the work goes on.
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}
