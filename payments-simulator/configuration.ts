/**
 * The configuration of the payments simulator, read from the environment and validated at once: an
 * invalid value stops the process with a message that names the variable.
 */
import { z } from 'zod';

export interface Configuration {
  /** Address to listen on. `PAYMENTS_HOST`, default `127.0.0.1`. */
  host: string;
  /** Port to listen on; 0 lets the system choose. `PAYMENTS_PORT`, default 18080. */
  port: number;
  /**
   * File for charges and refunds, created with its folders when missing; absent: in memory only.
   * One process per file. `PAYMENTS_DATA_FILE`.
   */
  dataFile: string | undefined;
  /** Milliseconds until `tok_slow` and `tok_in_progress` are captured. `PAYMENTS_SLOW_MS`, default 3000. */
  slowMs: number;
  /**
   * Milliseconds for which the connections of `tok_lost_answer` and `tok_silent` are held open
   * before they are cut. `PAYMENTS_HOLD_MS`, default 30000.
   */
  holdMs: number;
}

/** An environment variable has an invalid value; the message names it. */
export class InvalidConfigurationError extends Error {
  override readonly name = 'InvalidConfigurationError';
  readonly code = 'INVALID_CONFIGURATION';
}

/** The longest delay of a Node.js timer; with a longer one it fires at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Reads the settings from the environment. Empty variables count as absent.
 *
 * @throws InvalidConfigurationError that names each wrong variable.
 */
export function readConfiguration(environment: NodeJS.ProcessEnv): Configuration {
  const result = environmentSchema.safeParse(environment);
  if (!result.success) {
    const problems = result.error.issues.map(
      ({ path, message }) => `${path.join('.')}: ${message}`,
    );
    throw new InvalidConfigurationError(problems.join('; '), { cause: result.error });
  }
  return {
    host: result.data.PAYMENTS_HOST,
    port: result.data.PAYMENTS_PORT,
    dataFile: result.data.PAYMENTS_DATA_FILE,
    slowMs: result.data.PAYMENTS_SLOW_MS,
    holdMs: result.data.PAYMENTS_HOLD_MS,
  };
}

const environmentSchema = z.object({
  PAYMENTS_HOST: z.preprocess(emptyAsAbsent, z.string().default('127.0.0.1')),
  PAYMENTS_PORT: wholeNumber(0, 65_535, 18_080),
  PAYMENTS_DATA_FILE: z.preprocess(emptyAsAbsent, z.string().optional()),
  PAYMENTS_SLOW_MS: wholeNumber(0, longestTimerMs, 3_000),
  PAYMENTS_HOLD_MS: wholeNumber(0, longestTimerMs, 30_000),
});

function wholeNumber(lowest: number, highest: number, fallback: number) {
  const message = `must be a whole number from ${lowest} to ${highest}`;
  return z.preprocess(
    emptyAsAbsent,
    z
      .string()
      .regex(/^\d+$/, message)
      .default(String(fallback))
      .transform(Number)
      .refine((value) => value >= lowest && value <= highest, message),
  );
}

function emptyAsAbsent(value: unknown): unknown {
  return value === '' ? undefined : value;
}
