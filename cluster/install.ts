/**
 * Finds a program on this machine, or installs it into the cache folder that all projects share.
 */
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { exists, findOnPath, runCommand } from './command';
import { InvalidVariableError, messageOf, ProgramNotFoundError } from './errors';
import { withLock } from './lock';
import type { Report } from './progress';

/** A program: where it may be, and how to install it. */
export interface Recipe {
  /** For messages, such as `kafka`. */
  readonly name: string;
  /** The environment variable that may hold its path. */
  readonly variable: string;
  /** What the variable must hold, for messages, such as `the program redis-server`. */
  readonly variableHolds: string;
  /** Looks for a usable one on `PATH`. */
  readonly onPath: () => Promise<string | undefined>;
  /** The cache folder's entry, with the version in its name. */
  readonly cacheEntry: string;
  /** The program's path inside that entry; `.` for the entry itself. */
  readonly program: string;
  /** Tried in this order until one works. */
  readonly ways: readonly InstallWay[];
  /** One sentence: what the user can install instead. */
  readonly advice: string;
}

/** One way to install a program. */
export interface InstallWay {
  /** What it does, for the progress line, such as `fetching with Maven`. */
  readonly step: string;
  /** Installs into the empty folder `directory`; throws when it cannot. */
  readonly fill: (directory: string, signal: AbortSignal) => Promise<void>;
}

/**
 * The path of a program: named in the environment, on `PATH`, in the cache folder (`directory`), or
 * installed there now.
 *
 * @throws InvalidVariableError when the variable's path does not exist.
 * @throws ProgramNotFoundError when no way to install it worked; says what to install.
 */
export async function findOrInstall(
  recipe: Recipe,
  report: Report,
  signal: AbortSignal,
  directory: string = cacheDirectory(),
): Promise<string> {
  return (
    (await fromEnvironment(recipe)) ??
    (await recipe.onPath()) ??
    (await installOnce(recipe, directory, report, signal))
  );
}

/**
 * The program's path in `directory`, installed first when missing. Concurrent processes wait for
 * the first one, and none ever sees an incomplete entry.
 *
 * @throws ProgramNotFoundError when no way to install it worked.
 */
export async function installOnce(
  recipe: Pick<Recipe, 'name' | 'cacheEntry' | 'program' | 'ways' | 'advice'>,
  directory: string,
  report: Report,
  signal: AbortSignal,
): Promise<string> {
  const entry = join(directory, recipe.cacheEntry);
  const program = join(entry, recipe.program);
  if (await exists(program)) return program;
  const onWait = (): void =>
    report(recipe.name, 'waiting for another process that is installing it');
  await withLock({ path: entry, signal, onWait }, async (held) => {
    if (!(await exists(program))) await install(recipe, directory, entry, report, held);
  });
  return program;
}

/** Where installed programs are kept: under `XDG_CACHE_HOME`, or `~/.cache`. */
export function cacheDirectory(): string {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(base, 'commerce-event-pipeline');
}

/**
 * An install way that has Maven run one goal of its dependency plugin on `project`, a file of
 * `cluster/maven/`, with the result in `subfolder` of the folder to fill.
 */
export function mavenWay(
  project: string,
  goal: 'copy-dependencies' | 'unpack-dependencies',
  subfolder: string,
): InstallWay {
  return {
    step: 'fetching with Maven (first time only)',
    fill: async (directory, signal) => {
      const parameters = [
        '--quiet',
        '--batch-mode',
        `--file=${join(__dirname, 'maven', project)}`,
        `-DoutputDirectory=${join(directory, subfolder)}`,
        `-DbuildDirectory=${join(directory, '.build')}`,
        `dependency:${goal}`,
      ];
      // Maven 3's local repository does not support concurrent writers.
      await withLock({ path: join(cacheDirectory(), 'maven'), signal }, (held) =>
        runCommand('mvn', parameters, { signal: held }),
      );
      await rm(join(directory, '.build'), { recursive: true, force: true });
    },
  };
}

/** A program of that name on `PATH` whose `--version` says at least `minimum`, read by `pattern`. */
export async function onPathWithVersion(
  name: string,
  pattern: RegExp,
  minimum: readonly [number, number],
): Promise<string | undefined> {
  const program = await findOnPath(name);
  if (program === undefined) return undefined;
  return (await hasVersion(program, pattern, minimum)) ? program : undefined;
}

const stillInstallingMs = 30_000;

async function fromEnvironment(recipe: Recipe): Promise<string | undefined> {
  const path = process.env[recipe.variable];
  if (path === undefined || path === '') return undefined;
  if (await exists(path)) return path;
  throw new InvalidVariableError(
    recipe.variable,
    `must be the path of ${recipe.variableHolds}: "${path}" does not exist.`,
  );
}

async function install(
  recipe: Pick<Recipe, 'name' | 'cacheEntry' | 'ways' | 'advice'>,
  directory: string,
  entry: string,
  report: Report,
  signal: AbortSignal,
): Promise<void> {
  const prefix = `.installing-${recipe.cacheEntry}-`;
  await removeLeftovers(directory, prefix);
  const failures: string[] = [];
  for (const way of recipe.ways) {
    const temporary = await mkdtemp(join(directory, prefix));
    const step = `installing: ${way.step}`;
    report(recipe.name, step);
    const reminder = setInterval(() => report(recipe.name, `${step} …`), stillInstallingMs);
    try {
      await way.fill(temporary, signal);
      await rm(entry, { recursive: true, force: true });
      await rename(temporary, entry);
      report(recipe.name, 'installed');
      return;
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      signal.throwIfAborted();
      failures.push(messageOf(error));
    } finally {
      clearInterval(reminder);
    }
  }
  throw new ProgramNotFoundError(
    `${recipe.name} could not be installed: ${recipe.advice}, or use \`docker compose up\`.`,
    new Error(failures.join('\n')),
  );
}

/** Leftovers of a killed install; the caller holds the lock. */
async function removeLeftovers(directory: string, prefix: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const name of await readdir(directory)) {
    if (name.startsWith(prefix)) await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function hasVersion(
  program: string,
  pattern: RegExp,
  [major, minor]: readonly [number, number],
): Promise<boolean> {
  // A program whose `--version` fails is not used; the next candidate is tried.
  const output = await runCommand(program, ['--version']).catch(() => '');
  const [, foundMajor, foundMinor] = pattern.exec(output) ?? [];
  if (foundMajor === undefined) return false;
  return (
    Number(foundMajor) > major || (Number(foundMajor) === major && Number(foundMinor ?? 0) >= minor)
  );
}
