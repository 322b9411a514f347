/**
 * Clients for connection strings with several hosts, or with `target_session_attrs`: as in libpq the hosts
 * are tried in order, and the first that will do is used. The driver knows one host only.
 */
import { Client, DatabaseError, type ClientConfig } from 'pg';
import { parseConnectionString, type ConnectionTarget } from './connection-string';

/** None of the hosts of a connection string takes the connection; the message says of each why. */
export class NoServerAvailableError extends Error {
  override readonly name = 'NoServerAvailableError';
  readonly code = 'NO_SERVER_AVAILABLE';

  constructor(
    /** What went wrong, by `host:port`. */
    readonly failures: ReadonlyMap<string, unknown>,
  ) {
    const reasons = [...failures].map(([host, error]) => `${host} (${reasonOf(error)})`);
    const cause = new AggregateError(failures.values());
    super(`no server of the connection string can be used: ${reasons.join(', ')}`, { cause });
  }
}

/** The server takes no writes: it is in recovery, or its sessions are read-only. */
export class ReadOnlyServerError extends Error {
  override readonly name = 'ReadOnlyServerError';

  constructor(readonly code: 'IN_RECOVERY' | 'READ_ONLY') {
    super(code === 'IN_RECOVERY' ? 'in recovery' : 'read-only');
  }
}

/**
 * The driver's client with a listener for its errors. One that breaks while no statement runs says so by the
 * event alone, and its next statement fails; unheard, the event would end the process. It can come before
 * anybody who waits for the connection goes on: the server's farewell in the same packet as its welcome.
 */
class HeardClient extends Client {
  constructor(options?: ClientConfig) {
    super(options);
    this.on('error', () => undefined);
  }
}

/** A client for one connection, unconnected. @throws TypeError */
export function createClient(text: string): Client {
  const target = parseConnectionString(text);
  const ClientOfTarget = clientClass(target);
  return new ClientOfTarget({ connectionString: target.servers[0] });
}

/**
 * The driver's client, or where the target leaves a choice, one that chooses its host as it connects.
 * The clients of one class remember who was chosen last and ask that one first, so that a dead host does
 * not slow each connection down.
 */
export function clientClass({ servers, targetSession }: ConnectionTarget): typeof Client {
  if (servers.length === 1 && targetSession === 'any') return HeardClient;
  let lastChosen: string = servers[0];
  let choosing: Promise<string> | undefined;
  const choose = async (options: ClientConfig): Promise<string> => {
    const inOrder = [...new Set([lastChosen, ...servers])];
    return (lastChosen = await firstUsable(inOrder, targetSession, options));
  };
  return class ChoosingClient extends HeardClient {
    constructor(private readonly options: ClientConfig = {}) {
      super(options);
    }

    override connect(callback?: (...result: never[]) => void): Promise<Client> {
      // Connections that are opened at the same moment share one choice.
      choosing ??= choose(this.options).finally(() => (choosing = undefined));
      const connected = choosing.then((server) => {
        const { hostname, port } = new URL(server);
        this.host = hostOf(hostname);
        this.port = Number(port || defaultPort);
        return super.connect();
      });
      // The pool calls with a callback, and waits for no promise.
      const call = callback as ((error: unknown, client?: Client) => void) | undefined;
      if (call !== undefined) connected.then((client) => call(undefined, client), call);
      return connected;
    }
  };
}

const defaultPort = 5432;

// All of them together must fit in the pool's timeout of a connection, 5 s, with time left to connect.
const choiceTimeoutMs = 4_000;

async function firstUsable(
  servers: readonly string[],
  targetSession: ConnectionTarget['targetSession'],
  options: ClientConfig,
): Promise<string> {
  const timeoutMs = choiceTimeoutMs / servers.length;
  const failures = new Map<string, unknown>();
  for (const server of servers) {
    try {
      await probe(server, targetSession, { ...options, ...timeouts(timeoutMs) });
      return server;
    } catch (error) {
      // As in libpq: a server that rejects us is an answer, and the others would say the same.
      if (isRejection(error)) throw error;
      const { hostname, port } = new URL(server);
      failures.set(`${hostname}:${port || defaultPort}`, error);
    }
  }
  throw new NoServerAvailableError(failures);
}

function timeouts(timeoutMs: number): ClientConfig {
  return { connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs };
}

async function probe(
  server: string,
  targetSession: ConnectionTarget['targetSession'],
  options: ClientConfig,
): Promise<void> {
  const client = new HeardClient({ ...options, connectionString: withOptionsOf(options, server) });
  try {
    await client.connect();
    if (targetSession !== 'any') await assertWritable(client, { targetSession });
  } finally {
    await client.end();
  }
}

// The pool's connection string has start-up parameters that were added to it.
function withOptionsOf({ connectionString: given }: ClientConfig, server: string): string {
  const url = new URL(server);
  if (given !== undefined) url.search = new URL(given).search;
  return url.href;
}

/** What is asked of a server. */
interface WritableOptions {
  readonly targetSession?: Exclude<ConnectionTarget['targetSession'], 'any'>;
  /** How long to wait for its answer, in ms; as long as for any statement, unless given. */
  readonly timeoutMs?: number;
}

/** The server of a connection takes writes. @throws ReadOnlyServerError; the driver's error */
export async function assertWritable(
  connection: Pick<Client, 'query'>,
  { targetSession = 'read-write', timeoutMs }: WritableOptions = {},
): Promise<void> {
  const statement = {
    text: `
      SELECT pg_is_in_recovery() AS in_recovery,
        current_setting('transaction_read_only')::boolean AS read_only`,
    // The driver reads it; its types do not know.
    query_timeout: timeoutMs,
  };
  const { rows } = await connection.query<{ in_recovery: boolean; read_only: boolean }>(statement);
  if (rows[0]!.in_recovery) throw new ReadOnlyServerError('IN_RECOVERY');
  if (rows[0]!.read_only && targetSession === 'read-write') {
    throw new ReadOnlyServerError('READ_ONLY');
  }
}

// SQLSTATE classes 08, connection (a pooler without a server), 53, resources, and 57, operator's
// intervention (starting up, shutting down), say that the server cannot take us now.
function isRejection(error: unknown): boolean {
  if (refusesStartupParameter(error)) return true;
  return error instanceof DatabaseError && !/^(08|53|57)/.test(error.code ?? '');
}

/** Whether a pooler refuses a start-up parameter, as PgBouncer does. */
export function refusesStartupParameter(error: unknown): error is DatabaseError {
  return (
    error instanceof DatabaseError &&
    error.code === '08P01' &&
    error.message.includes('unsupported startup parameter')
  );
}

function hostOf(hostname: string): string {
  return decodeURIComponent(hostname).replace(/^\[(.+)\]$/, '$1');
}

function reasonOf(error: unknown): string {
  const { message, code } = error as Error & { code?: unknown };
  return message === '' ? String(code) : message;
}
