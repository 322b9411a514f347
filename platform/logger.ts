/**
 * Logging: JSON lines for machines, colours and short times on a terminal. Secrets never get out.
 */
import { pino, type Logger as PinoLogger } from 'pino';
import pretty from 'pino-pretty';

/** A structured logger: `logger.info({ eventId }, 'what happened')`. */
export type Logger = PinoLogger;

/**
 * The logger of a process.
 *
 * @param name the process, such as `bridge`
 * @param level least level that is written
 */
export function createLogger(name: string, level: string): Logger {
  const options = { name, level, redact: { paths: secretPaths, censor: '[secret]' } };
  if (!process.stdout.isTTY) return pino(options);
  return pino(options, pretty({ ignore: 'pid,hostname', translateTime: 'HH:MM:ss.l', sync: true }));
}

const secretNames = ['authorization', 'password', 'secret', 'apiKey', 'paymentToken'];

const secretPaths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
