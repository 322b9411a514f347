/**
 * What every npm script goes through, so that each of them works in a fresh clone with nothing run
 * before: it checks Node.js, installs the packages when they are not those of package-lock.json, and
 * then becomes the program that was asked for. It is plain JavaScript without dependencies, since it
 * runs before there are any.
 *
 *   node launch.mjs run FILE.ts …   a TypeScript program of the project
 *   node launch.mjs tool NAME …     the command NAME of an installed package: eslint, tsc, …
 *   node launch.mjs clean           removes dist/
 *   node launch.mjs assets          copies to dist/ what tsc leaves behind: SQL, scripts, the dashboard
 *
 * Programs and tools run in this very process, so that its process ID, its signals and its exit code
 * are theirs.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { createRequire, runMain } from 'node:module';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = path.dirname(fileURLToPath(import.meta.url));
const packagesFolder = path.join(root, 'node_modules');
const lockfile = path.join(root, 'package-lock.json');
const stampFile = path.join(packagesFolder, '.package-lock.sha256');
const installLock = path.join(root, '.install.lock');
const dashboardScripts = path.join(root, 'api', 'dashboard', 'client') + path.sep;
const require = createRequire(import.meta.url);

/** A problem that the person who typed the command can solve; shown without a stack. */
class LaunchError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

const commands = { run: runProgram, tool: runTool, clean: removeOutput, assets: copyAssets };

try {
  const [name, ...commandArguments] = process.argv.slice(2);
  const command = commands[name];
  if (!command)
    throw new LaunchError(`Usage: node launch.mjs ${Object.keys(commands).join('|')} …`);
  assertNodeVersion();
  await installWhenNeeded();
  command(...commandArguments);
} catch (error) {
  if (!(error instanceof LaunchError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
}

function runProgram(file, ...programArguments) {
  require('./typescript.cjs');
  become(path.join(root, file), programArguments);
}

function runTool(name, ...toolArguments) {
  const command = path.join(packagesFolder, '.bin', name);
  if (!fs.existsSync(command))
    throw new LaunchError(`No installed package has a command "${name}".`);
  become(fs.realpathSync(command), toolArguments);
}

/** Hands this process over to `file`, which sees itself as the main module. */
function become(file, fileArguments) {
  process.setSourceMapsEnabled(true);
  process.argv = [process.execPath, file, ...fileArguments];
  runMain();
}

function removeOutput() {
  fs.rmSync(path.join(root, 'dist'), { recursive: true, force: true });
}

/** The rooms that hold files which `tsc` does not compile and their programs read when they run. */
function copyAssets() {
  for (const room of ['api', 'cluster', 'migrations', 'platform']) {
    const from = path.join(root, room);
    if (!fs.existsSync(from)) continue;
    fs.cpSync(from, path.join(root, 'dist', room), {
      recursive: true,
      // The dashboard's own scripts are bundled for the browser by the server that serves them.
      filter: (source) => !/\.(ts|md)$/.test(source) || source.startsWith(dashboardScripts),
    });
  }
  // The dashboard shows its sections.
  const runbook = path.join('docs', 'runbook.md');
  fs.cpSync(path.join(root, runbook), path.join(root, 'dist', runbook));
}

/** The lowest version stands in package.json alone, as `engines.node`: `>=20.19`. */
function assertNodeVersion() {
  const { engines } = readJson(path.join(root, 'package.json'));
  const lowest = engines.node.replace('>=', '');
  const [wantedMajor, wantedMinor = 0] = lowest.split('.').map(Number);
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)) return;
  throw new LaunchError(
    `This project needs Node.js ${lowest} or later, and this is ${process.versions.node}. ` +
      'Install a later one, from nodejs.org or with a version manager, and run the command again.',
  );
}

async function installWhenNeeded() {
  if (packagesAreInstalled()) return;
  await withInstallLock(async () => {
    // Another command may have installed them while this one waited for the lock.
    if (packagesAreInstalled()) return;
    const reason = fs.existsSync(packagesFolder)
      ? 'The installed packages are not those of package-lock.json'
      : 'The packages are not installed yet';
    process.stderr.write(`${reason}: running npm ci\n`);
    await install();
    writeStamp();
  });
}

/** The stamp answers fast; without one, as after `npm install`, npm's own record answers. */
function packagesAreInstalled() {
  if (readIfThere(stampFile) === lockfileHash()) return true;
  if (!installedMatchesLockfile()) return false;
  writeStamp();
  return true;
}

function installedMatchesLockfile() {
  const record = readIfThere(path.join(packagesFolder, '.package-lock.json'));
  if (record === undefined) return false;
  const installed = JSON.parse(record).packages;
  const wanted = readJson(lockfile).packages;
  return Object.entries(wanted).every(
    ([place, { version, optional }]) =>
      place === '' || (installed[place]?.version ?? (optional ? version : undefined)) === version,
  );
}

function lockfileHash() {
  return createHash('sha256').update(fs.readFileSync(lockfile)).digest('hex');
}

function writeStamp() {
  fs.writeFileSync(stampFile, lockfileHash());
}

async function install() {
  // The npm that runs this script, where there is one: the npm on PATH may be another.
  const npm = process.env.npm_execpath;
  const [program, leading] =
    npm !== undefined && path.basename(npm) === 'npm-cli.js'
      ? [process.execPath, [npm]]
      : ['npm', []];
  // The development packages too, also where NODE_ENV is "production": the tools are among them.
  // Standard output belongs to the program that runs afterwards, which may print JSON there.
  const child = spawn(program, [...leading, 'ci', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32' && program === 'npm',
  });
  const stopListening = forwardSignals(child);
  try {
    const [code, signal] = await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (...end) => resolve(end));
    });
    if (code === 0) return;
    const end = signal === null ? `with exit code ${code}` : `by ${signal}`;
    throw new LaunchError(`npm ci ended ${end}; its messages are above.`, code ?? 1);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    throw new LaunchError('npm is not on PATH: install it, it comes with Node.js.');
  } finally {
    stopListening();
  }
}

function forwardSignals(child) {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  const forward = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, forward);
  return () => {
    for (const signal of signals) process.off(signal, forward);
  };
}

/** Two commands started at once in a fresh clone must not install into one folder together. */
async function withInstallLock(work) {
  const waitMs = 250;
  for (let attempt = 0; !takeInstallLock(); attempt += 1) {
    if (attempt === 0) {
      process.stderr.write('Waiting for another command that installs the packages\n');
    }
    await delay(waitMs);
  }
  try {
    await work();
  } finally {
    fs.rmSync(installLock, { force: true });
  }
}

function takeInstallLock() {
  if (createExclusively(installLock)) return true;
  const owner = readIfThere(installLock);
  if (owner === undefined || isAlive(owner)) return false;
  removeAbandonedLock(owner);
  return createExclusively(installLock);
}

/** Only the winner of a second lock removes the first, and only if it is still the dead one's. */
function removeAbandonedLock(owner) {
  const guard = `${installLock}.${owner}`;
  if (!createExclusively(guard)) return;
  try {
    if (readIfThere(installLock) === owner) fs.rmSync(installLock, { force: true });
  } finally {
    fs.rmSync(guard, { force: true });
  }
}

function createExclusively(file) {
  // Written aside and linked, so that nobody ever reads a lock without its owner.
  const draft = `${file}.draft.${process.pid}`;
  fs.writeFileSync(draft, String(process.pid));
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function isAlive(processId) {
  try {
    process.kill(Number(processId), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function readIfThere(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}
