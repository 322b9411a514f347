/** Errors of the local cluster; each message says what to do. */

/** Base of every error that `cluster/` throws on purpose; `code` is stable, `message` is for people. */
export class ClusterError extends Error {
  /** A stable name for programs, such as `PORT_IN_USE`. */
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A port that a server needs is in use. */
export class PortInUseError extends ClusterError {
  constructor(server: string, port: number, variable: string, cause: unknown) {
    super(
      'PORT_IN_USE',
      `Port ${port}, which ${server} needs, is in use by another program: ` +
        `stop that program, or set ${variable} to a free port.`,
      { cause },
    );
  }
}

/** A variable of the cluster has an invalid value. */
export class InvalidVariableError extends ClusterError {
  constructor(variable: string, problem: string) {
    super('INVALID_VARIABLE', `${variable} ${problem}`);
  }
}

/** A server's program is missing and could not be installed. */
export class ProgramNotFoundError extends ClusterError {
  constructor(message: string, cause?: unknown) {
    super('PROGRAM_NOT_FOUND', message, { cause });
  }
}

/** A server ended, or timed out, while starting. */
export class ServerStartError extends ClusterError {
  constructor(server: string, problem: string, logFile: string, logTail: string, cause?: unknown) {
    const tail = logTail === '' ? ' (empty)' : `\n${logTail}`;
    super('SERVER_START', `${server} ${problem}. The end of its log, ${logFile}:${tail}`, {
      cause,
    });
  }
}

/** A program that the cluster ran failed. */
export class CommandError extends ClusterError {
  constructor(command: string, problem: string, output: string, cause?: unknown) {
    const lines = output.trim();
    super('COMMAND_FAILED', `${command} ${problem}${lines === '' ? '' : `:\n${lines}`}`, { cause });
  }
}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
