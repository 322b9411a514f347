/** The command line of the local cluster: `npm run cluster -- up|down|status|reset|start|stop`. */
import { Argument, Command } from 'commander';
import { warnOfMisspeltVariables } from '../platform/process/misspelt-variables';
import { runProgram } from '../platform/process/program';
import {
  ClusterError,
  clusterVariables,
  createCluster,
  printProgress,
  serverNames,
} from './local-cluster';
import type { Cluster, ServerName, ServerStatus } from './local-cluster';
import { messageOf, ProgramNotFoundError } from './errors';

runProgram(main, { explain });

async function main(): Promise<void> {
  for (const warning of warnOfMisspeltVariables(process.env, clusterVariables))
    console.warn(warning);
  const cluster = createCluster({ report: printProgress(process.stdout) });
  await commandLine(cluster).parseAsync();
}

function commandLine(cluster: Cluster): Command {
  const program = new Command('npm run cluster --').description(
    'The local cluster: Postgres, Redis, Kafka, Temporal and a payment simulator, without Docker.',
  );
  const server = new Argument('<server>', 'which one').choices(serverNames);
  program
    .command('up')
    .description('start every server, and return when all answer')
    .action(() => untilInterrupted((signal) => cluster.up({ signal })));
  program
    .command('down')
    .description('stop every server; the data stays')
    .action(() => cluster.down());
  program
    .command('status')
    .description('print one line per server')
    .option('--json', 'with ports and process IDs, for programs')
    .action(async (options: { json?: boolean }) => {
      process.stdout.write(printStatus(cluster, await cluster.status(), options.json === true));
    });
  program
    .command('reset')
    .description('stop every server and delete all data')
    .action(() => cluster.reset());
  program
    .command('start')
    .description('start one server')
    .addArgument(server)
    .action((name: ServerName) => untilInterrupted((signal) => cluster.start(name, { signal })));
  program
    .command('stop')
    .description('stop one server')
    .addArgument(server)
    .action(async (name: ServerName) => {
      await cluster.stop(name);
    });
  return program;
}

/** Ctrl-C aborts the command, which ends when it has stopped what it started. */
async function untilInterrupted(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const interruption = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void =>
    interruption.abort(new ClusterError('INTERRUPTED', `Interrupted by ${signal}.`));
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    await work(interruption.signal);
  } finally {
    process.removeListener('SIGINT', interrupt);
    process.removeListener('SIGTERM', interrupt);
  }
}

function printStatus(cluster: Cluster, servers: ServerStatus[], asJson: boolean): string {
  if (asJson) {
    return `${JSON.stringify({ directory: cluster.directory, servers }, undefined, 2)}\n`;
  }
  return servers.map((server) => `${statusLine(server)}\n`).join('');
}

function statusLine({ name, state, pid, ports, logFile }: ServerStatus): string {
  const details = Object.entries(ports).map(([port, number]) => `${port} ${number}`);
  const owner = pid === undefined ? [] : [`process ${pid}`];
  const place = [details.join(', '), ...owner, `log ${logFile}`].join(' · ');
  return `${name.padEnd(9)} ${state.padEnd(14)} ${place}`;
}

/** Causes first, advice last: the end of the output is what people read. */
function explain(error: unknown): string {
  const isLong = error instanceof ProgramNotFoundError && error.cause !== undefined;
  return isLong ? `${messageOf(error.cause)}\n${error.message}` : messageOf(error);
}
