/**
 * Whether a process is let in where it has to go. A server that is away is waited for; one that
 * answers with a no (a wrong password, a certificate that nobody vouches for, a right that is missing)
 * will not think better of it, so the process ends and says what to change.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigurationError } from '../process/config';
import type { Process } from '../process/lifecycle';

/** Why a server and a process do not come together. */
export type RefusalCode =
  'CERTIFICATE_NOT_TRUSTED' | 'CREDENTIALS_REFUSED' | 'DATABASE_ROLE_REFUSED' | 'DATABASE_MISSING';

/** A server's no, or ours to its certificate. A retry cannot help; the message names the variables. */
export class AccessRefusedError extends Error {
  override readonly name = 'AccessRefusedError';

  constructor(
    readonly code: RefusalCode,
    message: string,
    cause: unknown,
  ) {
    super(message, { cause });
  }
}

/** A server, and how to ask it whether it lets us in. */
export interface Door {
  readonly server: string;
  /**
   * Resolves once we have been let in.
   *
   * @throws AccessRefusedError when we never will be; anything else when the server is away
   */
  open(): Promise<void>;
}

/** How long servers have to answer. */
export interface AccessPatience {
  /** How long the caller waits for first answers, in ms. */
  readonly firstAnswerMs?: number;
  /** How long until the next try after one that failed, in ms. */
  readonly retryMs?: number;
}

/**
 * Tries every door, side by side. Returns when each is open, or its server has not answered within two
 * seconds; then that one is tried again behind the caller's back until it answers, and a no ends
 * the process.
 *
 * @throws AccessRefusedError
 */
export async function assureAccess(
  process: Pick<Process, 'logger' | 'onStop' | 'fail'>,
  doors: readonly Door[],
  { firstAnswerMs = 2_000, retryMs = 2_000 }: AccessPatience = {},
): Promise<void> {
  const tries = doors.map((door) => ({ door, opened: tryToOpen(door) }));
  const outcomes = await Promise.all(
    tries.map(({ opened }) => Promise.race([opened, sleep(firstAnswerMs, false, { ref: false })])),
  );
  tries
    .filter((_, index) => !outcomes[index])
    .forEach(({ door, opened }) => keepTrying(process, door, { firstTry: opened, retryMs }));
}

/** Tries every door once. @throws AccessRefusedError; whoever is away is found out by what comes next */
export async function assertNotRefused(doors: readonly Door[]): Promise<void> {
  await Promise.all(doors.map(tryToOpen));
}

/** The certificate's fault, as a refusal; undefined when the error is something else. */
export function certificateRefusal(
  server: string,
  remedy: string,
  error: unknown,
): AccessRefusedError | undefined {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined || !certificateProblems.test(code)) return undefined;
  return new AccessRefusedError(
    'CERTIFICATE_NOT_TRUSTED',
    `${server} cannot be spoken to over TLS as configured (${code}: ${message}). ${remedy}`,
    error,
  );
}

// Node.js' and OpenSSL's names: https://nodejs.org/api/tls.html#x509-certificate-error-codes. The last
// two are the other side's: it does not speak TLS, or it does not like our certificate.
const certificateProblems =
  /CERT|^UNABLE_TO_|ISSUER|SELF_SIGNED|^ERR_SSL_WRONG_VERSION_NUMBER$|^ERR_SSL_.*(UNKNOWN_CA|HANDSHAKE_FAILURE)/;

/** Whether it is open now. @throws AccessRefusedError, ConfigurationError */
async function tryToOpen(door: Door): Promise<boolean> {
  try {
    await door.open();
    return true;
  } catch (error) {
    // Neither gets better by itself. Whatever else it is, the server may be back with the next try.
    if (error instanceof AccessRefusedError || error instanceof ConfigurationError) throw error;
    return false;
  }
}

function keepTrying(
  { logger, onStop, fail }: Pick<Process, 'logger' | 'onStop' | 'fail'>,
  door: Door,
  { firstTry, retryMs }: { readonly firstTry: Promise<boolean>; readonly retryMs: number },
): void {
  const stopping = new AbortController();
  const { signal } = stopping;
  onStop(`the wait for ${door.server}`, async () => stopping.abort());
  const wait = async (): Promise<void> => {
    if (await firstTry) return;
    logger.warn(`${door.server} does not answer yet`);
    for (let opened = false; !opened && !signal.aborted; opened = await tryToOpen(door)) {
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  };
  wait().catch((error: unknown) => {
    if (!signal.aborted) fail(error);
  });
}
