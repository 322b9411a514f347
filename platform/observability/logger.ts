/**
 * Logging: JSON lines for machines, colours and short times on a terminal. Secrets never get out.
 * Each line tells which work it belongs to: its trace, workflow and event, as far as there is one.
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
 * @param name the process, such as `bridge`
 * @param level least level that is written
 * @param destination where the lines go; standard output unless given
 */
export function createLogger(name: string, level: string, destination?: DestinationStream): Logger {
  const redact = { paths: secretPaths, censor: '[secret]' };
  const options = { name, level, redact, mixin: fieldsOfActiveWork };
  if (destination !== undefined) return pino(options, destination);
  if (!process.stdout.isTTY) return pino(options, standardOutput());
  return pino(options, pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }));
}

/** What work is about, as its log lines tell. */
export interface WorkLogFields {
  readonly eventId?: string;
  readonly workflowId?: string;
  readonly runId?: string;
}

const workLogFields = new AsyncLocalStorage<WorkLogFields>();

/** Does work whose log lines tell what it is about, whoever writes them. */
export function withLogFields<T>(fields: WorkLogFields, work: () => T): T {
  return workLogFields.run(fields, work);
}

// A new object each time: pino writes the line's own fields into it, which win.
function fieldsOfActiveWork(): object {
  return { ...workLogFields.getStore(), ...traceLogFields() };
}

/**
 * Written as it is logged: what an ending process said last is out, and there is nothing left to flush
 * when it exits. A flush would be tried again for ever once nobody reads standard output any more, and
 * the process would never end.
 */
function standardOutput(): DestinationStream {
  return pino.destination({ fd: process.stdout.fd, sync: true });
}

const secretNames = ['authorization', 'password', 'secret', 'apiKey', 'paymentToken'];

const secretPaths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
