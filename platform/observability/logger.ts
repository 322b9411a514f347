/**
 * Logging: JSON lines, or colours and short times on a terminal. Secrets are redacted. Each line has
 * the context of its work: trace, workflow and event, if any.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import pretty from 'pino-pretty';
import { traceLogFields } from './tracing';

/** A structured logger: `logger.info({ eventId }, 'what happened')`. */
export type Logger = PinoLogger;

/**
 * The logger of a process.
 *
 * @param name name of the process, such as `bridge`
 * @param level lowest level that is written
 * @param destination output; default standard output
 */
export function createLogger(name: string, level: string, destination?: DestinationStream): Logger {
  const redact = { paths: secretPaths, censor: '[secret]' };
  const options = { name, level, redact, mixin: fieldsOfActiveWork };
  if (destination !== undefined) return pino(options, destination);
  if (!process.stdout.isTTY) return pino(options, standardOutput());
  return pino(options, pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }));
}

/** Context of a unit of work, added to its log lines. */
export interface WorkLogFields {
  readonly eventId?: string;
  readonly workflowId?: string;
  readonly runId?: string;
}

const workLogFields = new AsyncLocalStorage<WorkLogFields>();

/** Runs `work`; every log line written within it has the context. */
export function withLogFields<T>(fields: WorkLogFields, work: () => T): T {
  return workLogFields.run(fields, work);
}

// A new object each time: pino merges the line's own fields into it, and they take precedence.
function fieldsOfActiveWork(): object {
  return { ...workLogFields.getStore(), ...traceLogFields() };
}

/**
 * Synchronous: the last lines of an exiting process are written, and nothing is left to flush. A flush
 * would retry forever once nobody reads standard output any more, and the process would never exit.
 */
function standardOutput(): DestinationStream {
  return pino.destination({ fd: process.stdout.fd, sync: true });
}

const secretNames = ['authorization', 'password', 'secret', 'apiKey', 'paymentToken'];

const secretPaths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
