/**
 * The payments simulator as a process: a stand-in for a payment gateway, for the local cluster and
 * the tests. What it answers is described in `server.ts`, what it can be set to in
 * `configuration.ts`.
 *
 *   node --require ./typescript.cjs payments-simulator/main.ts
 *
 * Prints `payments simulator listening on <url>` on standard output once it answers, which tells
 * the port to a caller that started it on port 0. SIGTERM and SIGINT stop it with exit code 0.
 * Started with an IPC channel, it also stops when the parent process is gone.
 */
import { InvalidConfigurationError, readConfiguration } from './configuration';
import { Journal } from './journal';
import { Ledger } from './ledger';
import { createServer } from './server';

async function main(): Promise<void> {
  const configuration = readConfiguration(process.env);
  const journal = Journal.open(configuration.dataFile);
  const server = createServer(new Ledger(journal), configuration);

  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= server
      .close()
      .then(() => journal.close())
      .catch(fail);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.once('disconnect', stop);
  // The channel alone must not keep a stopped simulator alive.
  process.channel?.unref();

  const url = await server.listen({ host: configuration.host, port: configuration.port });
  process.stdout.write(`payments simulator listening on ${url}\n`);
}

function fail(error: unknown): void {
  process.stderr.write(`payments simulator stopped: ${explain(error)}\n`);
  process.exit(1);
}

function explain(error: unknown): string {
  if (error instanceof InvalidConfigurationError) return error.message;
  if (!(error instanceof Error)) return String(error);
  if ('code' in error && error.code === 'EADDRINUSE') {
    return `${error.message}; set PAYMENTS_PORT to a free port`;
  }
  return error.stack ?? error.message;
}

main().catch(fail);
