/**
 * Startup checks: an unreachable server is retried; a rejected connection (wrong password, untrusted
 * certificate, missing permission) is fatal, and the process ends with a message that says what to change.
 */
import { ConfigurationError } from '../process/config';
import type { ProcessContext } from '../process/lifecycle';
import { pause, resultWithin } from '../process/waiting';

/** Why a connection is rejected. */
export type RejectionCode =
  | 'CERTIFICATE_NOT_TRUSTED'
  | 'CREDENTIALS_REJECTED'
  | 'DATABASE_ROLE_REJECTED'
  | 'DATABASE_MISSING'
  | 'STARTUP_PARAMETER_REJECTED'
  | 'SERVER_KIND_WRONG';

/** The server rejects us, or we reject its certificate. Not retryable; the message names the variables. */
export class ConnectionRejectedError extends Error {
  override readonly name = 'ConnectionRejectedError';

  constructor(
    readonly code: RejectionCode,
    message: string,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}

/** Connects to a server once, as the process will. */
export interface StartupCheck {
  readonly server: string;
  /** @throws ConnectionRejectedError when a retry cannot help; anything else when the server is unavailable */
  run(): Promise<void>;
}

/** Times of the startup checks, in ms. */
export interface StartupCheckOptions {
  /** How long the caller waits for unavailable servers. */
  readonly timeoutMs?: number;
  /** Pause between two retries. */
  readonly retryIntervalMs?: number;
}

/**
 * Runs all checks at once. Returns when each has passed or the timeout (2 s) is over. Checks that have
 * not passed by then are retried in the background; a rejection there ends the process.
 *
 * @throws ConnectionRejectedError
 */
export async function runStartupChecks(
  context: Pick<ProcessContext, 'logger' | 'onStop' | 'fail'>,
  checks: readonly StartupCheck[],
  { timeoutMs = 2_000, retryIntervalMs = 2_000 }: StartupCheckOptions = {},
): Promise<void> {
  const attempts = checks.map((check) => ({ check, passed: attempt(check) }));
  const outcomes = await Promise.all(
    attempts.map(({ passed }) => resultWithin(passed, timeoutMs, false)),
  );
  attempts
    .filter((_, index) => !outcomes[index])
    .forEach(({ check, passed }) =>
      retryInBackground(context, check, { firstAttempt: passed, retryIntervalMs }),
    );
}

/** Runs all checks once; unavailable servers are ignored. @throws ConnectionRejectedError */
export async function assertNotRejected(checks: readonly StartupCheck[]): Promise<void> {
  await Promise.all(checks.map(attempt));
}

/** A TLS error as a rejection; undefined when the error is something else. */
export function certificateRejection(
  server: string,
  remedy: string,
  error: unknown,
): ConnectionRejectedError | undefined {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined || !certificateProblems.test(code)) return undefined;
  return new ConnectionRejectedError(
    'CERTIFICATE_NOT_TRUSTED',
    `The TLS connection to ${server} failed (${code}: ${message}). ${remedy}`,
    error,
  );
}

// Node.js' and OpenSSL's names: https://nodejs.org/api/tls.html#x509-certificate-error-codes. The last
// two come from the server: it does not speak TLS, or rejects our certificate.
const certificateProblems =
  /CERT|^UNABLE_TO_|ISSUER|SELF_SIGNED|^ERR_SSL_WRONG_VERSION_NUMBER$|^ERR_SSL_.*(UNKNOWN_CA|HANDSHAKE_FAILURE)/;

/** Whether the check passes now. @throws ConnectionRejectedError, ConfigurationError */
async function attempt(check: StartupCheck): Promise<boolean> {
  try {
    await check.run();
    return true;
  } catch (error) {
    // Both are permanent. Everything else counts as unavailable and is retried.
    if (error instanceof ConnectionRejectedError || error instanceof ConfigurationError)
      throw error;
    return false;
  }
}

function retryInBackground(
  { logger, onStop, fail }: Pick<ProcessContext, 'logger' | 'onStop' | 'fail'>,
  check: StartupCheck,
  options: { readonly firstAttempt: Promise<boolean>; readonly retryIntervalMs: number },
): void {
  const stopping = new AbortController();
  const { signal } = stopping;
  onStop(`the startup check of ${check.server}`, async () => stopping.abort());
  const retry = async (): Promise<void> => {
    if (await options.firstAttempt) return;
    logger.warn(`${check.server} unavailable at startup; retrying`);
    for (let passed = false; !passed && !signal.aborted; passed = await attempt(check)) {
      await pause(options.retryIntervalMs, signal);
    }
  };
  retry().catch((error: unknown) => {
    if (!signal.aborted) fail(error);
  });
}
