/** All commands, and how they end. */
import { Command, CommanderError } from 'commander';
import { exitCodes, type ExitCode, type RunCommand } from './command';
import { UsageError } from '../../platform/process/program';
import { toConnectionRejection } from '../../platform/dependencies/servers';
import { warnOfMisspeltVariables } from '../../platform/process/misspelt-variables';
import { addAfterRestoreCommand } from './commands/after-restore';
import { addConsumptionCommands } from './commands/consumption';
import { addDeadLetterCommands } from './commands/dead-letters';
import { addEventCommands } from './commands/events';
import { addLagCommand } from './commands/lag';
import { addOrderCommands } from './commands/orders';
import { addRebuildMetricsCommand } from './commands/rebuild-metrics';
import { addReplayCommand } from './commands/replay';
import { addStatusCommand } from './commands/status';
import { addVerifyCommand } from './commands/verify';
import { withLocalCluster } from './local-cluster';
import { createOperator } from './operator';
import { createOutput, type Streams } from './output';

/** Runs a command. @returns the exit code; errors have been written to standard error */
export async function runCommandLine(
  commandArguments: readonly string[],
  streams: Streams = process,
): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.ok;
  const run: RunCommand = async (command, work) => {
    const { json } = command.optsWithGlobals<{ json?: boolean }>();
    const output = createOutput({ json: json === true }, streams);
    for (const warning of warnOfMisspeltVariables()) output.note(warning);
    const operator = createOperator(output, await withLocalCluster(process.env, output));
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
  0  done; for verify, nothing differs; for status, the verdict is ok
  1  failed, or cancelled; for verify, something differs; for status, another verdict
  2  usage error; nothing was done`;

function createProgram(run: RunCommand, { stdout, stderr }: Streams): Command {
  const program = new Command('npm run ops --')
    .description("The operator's command line of the event pipeline.")
    .option('--json', 'print one JSON value on standard output, for programs')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
    })
    .showHelpAfterError('(see --help)')
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- status
  npm run ops -- dead-letters list --reason UNKNOWN_TYPE
  npm run ops -- dead-letters redrive --all --reason UNKNOWN_TYPE
  npm run ops -- orders list --status PLACED --older-than 10s
  npm run ops -- verify --json
  npm run ops -- lag

Servers are configured by the same environment variables as every process of the project; without them, those of the local cluster that runs are used. Results go to standard output, everything else to standard error. On a terminal, irreversible or long commands ask for confirmation; programs are not asked. Colours: on a terminal only, and not with NO_COLOR.`,
    )
    .addHelpText('afterAll', exitCodesHelp)
    .exitOverride();
  addStatusCommand(program, run);
  addDeadLetterCommands(program, run);
  addEventCommands(program, run);
  addOrderCommands(program, run);
  addLagCommand(program, run);
  addConsumptionCommands(program, run);
  addVerifyCommand(program, run);
  addRebuildMetricsCommand(program, run);
  addReplayCommand(program, run);
  addAfterRestoreCommand(program, run);
  return program;
}

/** An error as text for the operator. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const refusal = toConnectionRejection(error);
  if (refusal !== undefined) return refusal.message;
  // A host that refuses on all of its addresses is an AggregateError without a message.
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
