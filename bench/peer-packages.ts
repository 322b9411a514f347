/**
 * The packages of the peers, in `bench/package.json`, so that only the suites `peers` and
 * `load-curve` have them: installed when one runs and they differ from the lockfile.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runCommand } from '../cluster/command';
import { withLock } from '../cluster/lock';
import type { SuiteContext } from './suite';

const lockfile = path.join(__dirname, 'package-lock.json');
const packagesFolder = path.join(__dirname, 'node_modules');

/** Written last: marks a complete installation. */
const stampFile = path.join(packagesFolder, '.package-lock.sha256');

/** Installs what is missing; waits for another process that does so. @throws CommandError of npm */
export async function installPeerPackages({
  note,
  signal,
}: Pick<SuiteContext, 'note' | 'signal'>): Promise<void> {
  if (await areInstalled()) return;
  const onWait = (): void => note('Waiting for another process that is installing the packages');
  await withLock({ path: path.join(__dirname, '.install'), signal, onWait }, async (held) => {
    if (await areInstalled()) return;
    note('The packages of bench/package-lock.json are not installed yet: running npm ci');
    const hash = await lockfileHash();
    const [program, leading] = npm();
    await runCommand(program, [...leading, 'ci'], { cwd: __dirname, signal: held });
    await writeFile(stampFile, hash);
  });
}

/** The versions of the peers' packages that are installed, by name. */
export async function peerVersions(): Promise<Record<string, string>> {
  const { dependencies } = await readPackage(__dirname);
  const names = Object.keys(dependencies).filter((name) => name.startsWith('@'));
  const versions = names.map(async (name) => {
    const { version } = await readPackage(path.join(packagesFolder, name));
    return [name, version] as const;
  });
  return Object.fromEntries(await Promise.all(versions));
}

async function areInstalled(): Promise<boolean> {
  try {
    return (await readFile(stampFile, 'utf8')) === (await lockfileHash());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return false;
  }
}

async function lockfileHash(): Promise<string> {
  return createHash('sha256')
    .update(await readFile(lockfile))
    .digest('hex');
}

/** The npm that runs the benchmarks, where there is one: the npm on `PATH` may be another. */
function npm(): [program: string, leading: string[]] {
  const running = process.env['npm_execpath'];
  return running !== undefined && path.basename(running) === 'npm-cli.js'
    ? [process.execPath, [running]]
    : ['npm', []];
}

interface PackageDescription {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

async function readPackage(directory: string): Promise<PackageDescription> {
  const text = await readFile(path.join(directory, 'package.json'), 'utf8');
  return JSON.parse(text) as PackageDescription;
}
