import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import type { Pool } from 'pg';
import { assertNotRejected } from '../../platform/dependencies/startup-checks';
import { postgresStartupCheck } from '../../platform/dependencies/servers';
import { createLogger } from '../../platform/observability/logger';
import { parseConnectionString } from '../../platform/postgres/connection-string';
import { createClient } from '../../platform/postgres/hosts';
import {
  createPool,
  inTransaction,
  isConnectionLost,
  probeWritable,
} from '../../platform/postgres/pool';
import { ConfigurationError, readConfig } from '../../platform/process/config';

const logger = createLogger('test', 'silent');

describe('a connection string', () => {
  test('with several hosts is one for each, with user, password, database and options unchanged', () => {
    const text =
      'postgres://us%40er:pass%2Cword@one:5432,two,[::1]:5433/shop?target_session_attrs=read-write&sslmode=verify-full';
    expect(parseConnectionString(text)).toEqual({
      servers: [
        'postgres://us%40er:pass%2Cword@one:5432/shop?sslmode=verify-full',
        'postgres://us%40er:pass%2Cword@two/shop?sslmode=verify-full',
        'postgres://us%40er:pass%2Cword@[::1]:5433/shop?sslmode=verify-full',
      ],
      targetSession: 'read-write',
    });
  });

  test('with one host is itself, and any server will do', () => {
    const text = 'postgresql://user@host/shop';
    expect(parseConnectionString(text)).toEqual({ servers: [text], targetSession: 'any' });
  });

  test.each([
    ['postgres://one:5432,two:no/shop?hush', 'is no connection string'],
    [
      'postgres://hush@one/shop?target_session_attrs=standby',
      'target_session_attrs must be one of',
    ],
    ['mysql://hush@one/shop', 'must begin postgres://'],
  ])('%s names the variable and what is wrong, and no more', (DATABASE_URL, problem) => {
    const read = (): unknown => readConfig({ DATABASE_URL });
    expect(read).toThrow(ConfigurationError);
    expect(read).toThrow(`  DATABASE_URL: ${problem}`);
    expect(read).not.toThrow('hush');
  });
});

test('without a server that can be used, the error names each host and what was wrong with it', async () => {
  const client = createClient('postgres://user@127.0.0.1:1,localhost:2/shop');
  const connecting = client.connect();
  await expect(connecting).rejects.toMatchObject({ code: 'NO_SERVER_AVAILABLE' });
  await expect(connecting).rejects.toThrow(
    /127\.0\.0\.1:1 \(.*ECONNREFUSED.*localhost:2 \(.*ECONNREFUSED/,
  );
});

describe('a pooler that refuses a start-up parameter', () => {
  // What PgBouncer answers: an ErrorResponse, and then it hangs up.
  const refusal = errorResponse('08P01', 'unsupported startup parameter: options');
  const pooler = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(refusal));
  });
  let port: number;

  beforeAll(async () => {
    pooler.listen(0, '127.0.0.1');
    await once(pooler, 'listening');
    ({ port } = pooler.address() as AddressInfo);
  });

  afterAll(() => new Promise((resolve) => pooler.close(resolve)));

  test.each([
    ['alone', () => `127.0.0.1:${port}`],
    ['behind a host that is away', () => `127.0.0.1:1,127.0.0.1:${port}`],
  ])('%s ends the start, with what to change', async (_, hosts) => {
    const pool = createPool(`postgres://user@${hosts()}/shop`, logger, { applicationName: 'test' });
    try {
      await expect(assertNotRejected([postgresStartupCheck(pool)])).rejects.toMatchObject({
        name: 'ConnectionRejectedError',
        code: 'STARTUP_PARAMETER_REJECTED',
        message: expect.stringMatching(/DATABASE_URL.*parameter: options.*name PostgreSQL itself/),
      });
    } finally {
      await pool.end();
    }
  });
});

describe('a connection that is ended in the packet that opens it', () => {
  // As pg_terminate_backend() does at that moment: the farewell comes before anybody can listen for it.
  const farewell = errorResponse('57P01', 'terminating connection due to administrator command');
  const welcome = Buffer.concat([message('R', [0, 0, 0, 0]), message('Z', [...Buffer.from('I')])]);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end(Buffer.concat([welcome, farewell])));
  });
  let port: number;

  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  });

  afterAll(() => new Promise((resolve) => server.close(resolve)));

  test.each<[string, (pool: Pool) => Promise<unknown>]>([
    ['a statement', (pool) => pool.query('SELECT')],
    ['a transaction', (pool) => inTransaction(pool, () => Promise.resolve())],
    ['a probe', probeWritable],
  ])('fails %s as a lost connection, and leaves the process alone', async (_, use) => {
    const url = `postgres://user@127.0.0.1:${port}/shop`;
    const pool = createPool(url, logger, { applicationName: 'test' });
    try {
      const used = use(pool);
      await expect(used).rejects.toThrow();
      expect(isConnectionLost(await used.catch((error: unknown) => error))).toBe(true);
      expect(pool.totalCount).toBe(0);
    } finally {
      await pool.end();
    }
  });
});

/** https://www.postgresql.org/docs/18/protocol-message-formats.html */
function errorResponse(code: string, text: string): Buffer {
  return message('E', [...Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`)]);
}

function message(type: string, content: readonly number[]): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(content.length + 4);
  return Buffer.concat([Buffer.from(type), length, Buffer.from(content)]);
}
