/** Which commands there are, and how each of them ends. */
import { Command, CommanderError } from 'commander';
import { exitCodes, UsageError, type ExitCode, type RunCommand } from './command';
import { toConnectionRejection } from '../../platform/dependencies/servers';
import { addDeadLetterCommands } from './commands/dead-letters';
import { addEventCommands } from './commands/events';
import { addLagCommand } from './commands/lag';
import { addRebuildMetricsCommand } from './commands/rebuild-metrics';
import { addVerifyCommand } from './commands/verify';
import { createOperator } from './operator';
import { createOutput, type Streams } from './output';

/** Carries out a command. @returns the exit code; what went wrong is on standard error by then */
export async function runCommandLine(
  commandArguments: readonly string[],
  streams: Streams = process,
): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const run: RunCommand = async (command, work) => {
    const { json } = command.optsWithGlobals<{ json?: boolean }>();
    const output = createOutput({ json: json === true }, streams);
    const operator = createOperator(output);
    try {
      exitCode = (await work(operator)) ?? exitCodes.ok;
    } finally {
      output.close();
      await operator.close();
    }
  };
  try {
    await createProgram(run, streams).parseAsync([...commandArguments], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError)
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
    streams.stderr.write(`${explain(error)}\n`);
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

const exitCodesHelp = `
Exit codes:
  0  done; for verify, nothing differs
  1  it failed, or was called off; for verify, something differs
  2  called wrongly; nothing was done`;

function createProgram(run: RunCommand, { stdout, stderr }: Streams): Command {
  const program = new Command('npm run ops --')
    .description("The operator's command line of the event pipeline.")
    .option('--json', 'print one JSON value on standard output, for programs')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
    })
    .showHelpAfterError('(add --help for how to call it)')
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- dead-letters list --reason UNKNOWN_TYPE
  npm run ops -- dead-letters redrive --all --reason UNKNOWN_TYPE
  npm run ops -- verify --json
  npm run ops -- lag

Where the servers are is read from the environment, as by every process of the project. Results go to
standard output, all else to standard error. On a terminal, what cannot be undone or takes long is
asked about first; programs are not asked. Colours: on a terminal only, and not with NO_COLOR.`,
    )
    .addHelpText('afterAll', exitCodesHelp)
    .exitOverride();
  addDeadLetterCommands(program, run);
  addEventCommands(program, run);
  addLagCommand(program, run);
  addVerifyCommand(program, run);
  addRebuildMetricsCommand(program, run);
  return program;
}

/** An error for a person: what happened, and what it came from where that says more. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const refusal = toConnectionRejection(error);
  if (refusal !== undefined) return refusal.message;
  // A server that refuses on every address of its name is one error without words around several.
  const parts = error instanceof AggregateError && error.message === '' ? error.errors : [error];
  const text = parts
    .map((part) => (part instanceof Error ? part.message : String(part)))
    .join('; ');
  return isUnreachable(text)
    ? `${text}\nIs the server running? See npm run cluster -- status.`
    : text;
}

function isUnreachable(text: string): boolean {
  return /ECONNREFUSED|ENOTFOUND|ETIMEDOUT|[Cc]onnection (error|timeout|terminated)/.test(text);
}
