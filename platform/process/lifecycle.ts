/**
 * The life of a process: read the configuration, start, and on SIGTERM or SIGINT stop what was
 * started, last first, so that work under way finishes before what it needs goes away.
 */
import { ConnectionRejectedError } from '../dependencies/startup-checks';
import { ConfigurationError, readConfig, type Config } from './config';
import { warnOfMisspeltVariables } from './misspelt-variables';
import { serversOf } from './servers';
import { createLogger, type Logger } from '../observability/logger';
import { startTracing, type RecordedTraces } from '../observability/trace-recording';
import { WorkflowBlockedError } from '../temporal/lean-sandbox/watchdog';

/** What a process gets to start with. */
export interface ProcessContext {
  readonly config: Config;
  readonly logger: Logger;
  /** The traces that are recorded; undefined when none are. */
  readonly traces: RecordedTraces | undefined;
  /**
   * Registers what to do when the process stops. The last one registered runs first.
   *
   * @throws StoppingError when it stops already: what starts late must not go on starting
   */
  onStop(what: string, stop: () => Promise<unknown>): void;
  /** Stops the process because it cannot go on; it ends with exit code 1. */
  fail(error: unknown): void;
}

/** The process was told to stop while it was starting. */
class StoppingError extends Error {
  override readonly name = 'StoppingError';
  readonly code = 'STOPPING';
}

/**
 * How long a process stops at most, in ms, after it has drained (`DRAIN_MS`). One that hangs while stopping
 * is of no use to anybody; what it did not finish is durable.
 */
export const stopTimeoutMs = 30_000;

/**
 * Runs `start` as the process `name`. A wrong configuration ends it with one readable message;
 * any other failure at startup ends it with exit code 1, after stopping what had started.
 */
export async function runProcess(
  name: string,
  start: (context: ProcessContext) => Promise<void>,
): Promise<void> {
  const config = readConfigOrExit(name);
  const logger = createLogger(name, config.LOG_LEVEL);
  for (const warning of warnOfMisspeltVariables()) logger.warn(warning);
  const stops: { what: string; stop: () => Promise<unknown> }[] = [];
  let stopping = false;

  const stopAll = async (exitCode: number): Promise<void> => {
    if (stopping) return;
    stopping = true;
    process.exitCode = exitCode;
    const timeoutMs = config.DRAIN_MS + stopTimeoutMs;
    const timer = setTimeout(() => {
      logger.error({ timeoutMs }, 'shutdown timed out; exiting now');
      process.exit(1);
    }, timeoutMs);
    for (const { what, stop } of stops.toReversed()) await stopOne(logger, what, stop);
    clearTimeout(timer);
    logger.info('stopped');
    process.exit();
  };

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      logger.info({ signal }, 'stopping');
      void stopAll(0);
    });
  }
  // A supervisor holds the other end of a channel: when it is gone, nobody would stop this process.
  process.on('disconnect', () => {
    logger.info('stopping: the supervisor has exited');
    void stopAll(0);
  });
  const fail = (error: unknown): void => {
    logger.fatal({ err: error }, isForPeople(error) ? error.message : 'fatal error; stopping');
    void stopAll(1);
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  const onStop: ProcessContext['onStop'] = (what, stop) => {
    if (stopping) throw new StoppingError(`The process is stopping and does not start ${what}.`);
    stops.push({ what, stop });
  };
  try {
    const traces = startTracing(name, config, logger);
    // Registered first, so that it runs last and sends the spans of stopping too.
    if (traces !== undefined) onStop('the traces', () => traces.stop());
    await start({ config, logger, traces, onStop, fail });
  } catch (error) {
    // What fails after that may well fail because the process stops.
    if (stopping) logger.info({ err: error }, 'startup interrupted: the process is stopping');
    else fail(error);
  }
}

// Their messages say all that there is to say, and what to do.
function isForPeople(error: unknown): error is Error {
  return [ConfigurationError, ConnectionRejectedError, WorkflowBlockedError].some(
    (type) => error instanceof type,
  );
}

function readConfigOrExit(name: string): Config {
  try {
    return readConfig(process.env, serversOf(name));
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

async function stopOne(logger: Logger, what: string, stop: () => Promise<unknown>): Promise<void> {
  try {
    await stop();
    logger.debug({ what }, 'component stopped');
  } catch (error) {
    process.exitCode = 1;
    logger.error({ err: error, what }, 'component did not stop cleanly');
  }
}
