/**
 * The container engine of the test: the one that `docker` reaches, or one of the test's own, which root can
 * start on Linux. That one keeps everything in the test's folder and runs containers in a network namespace
 * of its own: it touches no port, bridge or rule of the machine.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { findOnPath, runCommand } from '../../cluster/command';
import { pollUntil, resultWithin } from '../../platform/process/waiting';

/** There is no way to run containers here; the message says what is missing. */
export class NoEngineError extends Error {
  override readonly name = 'NoEngineError';
  readonly code = 'NO_ENGINE';
}

/** An engine that answers. */
export interface Engine {
  /** Of Docker Engine, such as `28.0.4`. */
  readonly version: string;
  /** Whether it is the test's, which may then give images any name. */
  readonly isOwn: boolean;
  /** What `docker` finds it with. */
  readonly environment: Readonly<Record<string, string>>;
  /** From now on containers have a network, and no way out of it. Builds fetch packages before. */
  isolate(): Promise<void>;
  /** Ends it, if it is the test's. */
  stop(): Promise<void>;
}

/**
 * @param directory of an engine of the test's own
 * @throws NoEngineError
 */
export async function findEngine(directory: string, signal: AbortSignal): Promise<Engine> {
  if ((await findOnPath('docker')) === undefined) throw new NoEngineError('there is no docker');
  const version = await askVersion({});
  if (version !== undefined) return shared(version);
  return startOwn(directory, signal);
}

function shared(version: string): Engine {
  const nothing = (): Promise<void> => Promise.resolve();
  return { version, isOwn: false, environment: {}, isolate: nothing, stop: nothing };
}

async function askVersion(environment: Record<string, string>): Promise<string | undefined> {
  const ask = ['version', '--format', '{{.Server.Version}}'];
  return runCommand('docker', ask, { environment }).then(
    (output) => output.trim(),
    () => undefined,
  );
}

type Network = 'machine' | 'none';

/**
 * What it mounts is mounted for it alone, and gone with it. Without a bridge the engine leaves the machine's
 * network alone, and builds use it as it is.
 */
const launches: Readonly<Record<Network, readonly string[]>> = {
  machine: ['--mount', 'dockerd', '--bridge=none', '--iptables=false', '--ip-forward=false'],
  none: [
    ...['--mount', '--net', 'sh', '-c'],
    ...['ip link set lo up && exec dockerd "$@"', 'dockerd'],
  ],
};

const needed = ['dockerd', 'setpriv', 'unshare', 'ip', 'iptables'];
const startMs = 30_000;
const stopMs = 30_000;

async function startOwn(directory: string, signal: AbortSignal): Promise<Engine> {
  if (process.getuid?.() !== 0) {
    throw new NoEngineError('docker reaches no engine, and only root can start one');
  }
  for (const program of needed) {
    if ((await findOnPath(program)) === undefined) {
      throw new NoEngineError(`docker reaches no engine, and to start one there is no ${program}`);
    }
  }
  await mkdir(directory);
  const environment = { DOCKER_HOST: `unix://${path.join(directory, 'docker.sock')}` };
  const launch = (network: Network): Promise<Daemon> =>
    launchDaemon(network, directory, environment, signal);
  let daemon = await launch('machine');
  return {
    version: daemon.version,
    isOwn: true,
    environment,
    async isolate() {
      await daemon.stop();
      daemon = await launch('none');
    },
    stop: () => daemon.stop(),
  };
}

interface Daemon {
  readonly version: string;
  stop(): Promise<void>;
}

async function launchDaemon(
  network: Network,
  directory: string,
  environment: Record<string, string>,
  signal: AbortSignal,
): Promise<Daemon> {
  const child = await spawnDaemon(network, directory, environment['DOCKER_HOST']!);
  const answer = async (): Promise<string | undefined> => {
    if (child.exitCode !== null) throw new NoEngineError(await lastLine(logOf(directory)));
    return askVersion(environment);
  };
  try {
    const version = await pollUntil(answer, { timeoutMs: startMs, pollMs: 200, signal });
    if (version === undefined) throw new NoEngineError('dockerd does not answer');
    return { version, stop: () => stop(child) };
  } catch (error) {
    await stop(child);
    throw error;
  }
}

async function spawnDaemon(
  network: Network,
  directory: string,
  host: string,
): Promise<ChildProcess> {
  const parameters = [
    // It ends with this process, however that ends.
    ...['--pdeathsig', 'TERM', 'unshare'],
    ...launches[network],
    `--host=${host}`,
    `--data-root=${path.join(directory, 'data')}`,
    `--exec-root=${path.join(directory, 'exec')}`,
    `--pidfile=${path.join(directory, 'pid')}`,
  ];
  const log = await open(logOf(directory), 'a');
  // A session of its own: Ctrl-C is for this process, which takes down what runs first.
  const child = spawn('setpriv', parameters, {
    detached: true,
    stdio: ['ignore', log.fd, log.fd],
  });
  await log.close();
  return child;
}

const logOf = (directory: string): string => path.join(directory, 'log');

async function lastLine(file: string): Promise<string> {
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  return `dockerd cannot start here: ${lines.at(-1)}`;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  if ((await resultWithin(exited, stopMs, undefined)) !== undefined) return;
  child.kill('SIGKILL');
  await exited;
}
