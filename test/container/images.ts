/**
 * The official images that the Dockerfile and Compose name: pulled where they can be, else stood in for by
 * images of the local cluster's programs in Debian.
 */
import { readFileSync } from 'node:fs';
import { cp, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import { runCommand } from '../../cluster/command';
import { cacheDirectory, installOnce, type InstallWay } from '../../cluster/install';
import { printProgress } from '../../cluster/local-cluster';
import { defaultPorts } from '../../cluster/ports';
import type { Server } from '../../cluster/server';
import { kafka } from '../../cluster/servers/kafka';
import { postgres } from '../../cluster/servers/postgres';
import { temporal } from '../../cluster/servers/temporal';
import { withTimeout } from '../../platform/process/waiting';
import { NoEngineError, type Engine } from './engine';

/** A service of Compose, as far as the test reads it. */
export interface Service {
  readonly image: string;
  readonly build?: string;
  readonly profiles?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: object;
}

/** The top folder of the project. */
export const root = path.join(__dirname, '..', '..');

/** The name that Compose gives the image of ours. */
export const applicationImage = 'commerce-event-pipeline';

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

/** The services of `docker-compose.yml`. */
export function services(): Readonly<Record<string, Service>> {
  const { services: all } = parse(read('docker-compose.yml'), { merge: true }) as {
    services: Record<string, Service>;
  };
  return all;
}

/** The images that the Dockerfile builds upon, and those of the servers that always run. */
export function officialImages(): string[] {
  const stages = [...read('Dockerfile').matchAll(/^FROM (\S+)/gm)].map(([, image]) => image!);
  const servers = Object.values(services())
    .filter(({ image, profiles }) => image !== applicationImage && profiles === undefined)
    .map(({ image }) => image);
  return [...new Set([...stages, ...servers])];
}

/** The folder of the stand-in for an image such as `apache/kafka:4.1.0`: `kafka`. */
export function standInOf(image: string): string {
  const [name = ''] = path.posix.basename(image).split(/[:@]/);
  return path.join(__dirname, 'stand-ins', name);
}

/**
 * Has every official image in the engine, and answers which of them are stand-ins.
 *
 * @throws NoEngineError where one cannot be pulled and the engine is not the test's own
 */
export async function bringImages(
  engine: Engine,
  directory: string,
  signal: AbortSignal,
): Promise<string[]> {
  const docker = (...parameters: string[]): Promise<string> =>
    runCommand('docker', parameters, {
      environment: { ...engine.environment, DOCKER_BUILDKIT: '0' },
      signal,
    });
  const missing = await pull(docker, officialImages());
  if (missing.length === 0) return [];
  if (!engine.isOwn) {
    throw new NoEngineError(
      `the engine cannot pull ${missing.join(', ')}, and only one of its own is given stand-ins`,
    );
  }
  try {
    await docker('import', await debian(signal), 'stand-in-debian');
    for (const image of missing) await build(docker, image, directory, signal);
  } catch (error) {
    signal.throwIfAborted();
    throw new NoEngineError(`the stand-ins cannot be built: ${String(error)}`, { cause: error });
  }
  return missing;
}

type Docker = (...parameters: string[]) => Promise<string>;

const pullMs = 240_000;

async function pull(docker: Docker, images: readonly string[]): Promise<string[]> {
  const pulled = await Promise.all(
    images.map((image) =>
      withTimeout(docker('pull', '--quiet', image), pullMs).then(
        () => true,
        () => false,
      ),
    ),
  );
  return images.filter((_, index) => !pulled[index]);
}

const debootstrapWay: InstallWay = {
  step: 'fetching with debootstrap (first time only)',
  fill: async (directory, signal) => {
    const tree = path.join(directory, 'tree');
    await runCommand('debootstrap', ['--variant=minbase', 'trixie', tree], { signal });
    await runCommand('sh', ['-c', 'rm -rf "$0"/var/cache/apt/* "$0"/var/lib/apt/lists/*', tree]);
    const archive = path.join(directory, 'debian.tar');
    await runCommand('tar', ['--create', '--file', archive, '--directory', tree, '.'], { signal });
    await rm(tree, { recursive: true });
  },
};

function debian(signal: AbortSignal): Promise<string> {
  const recipe = {
    name: 'debian',
    cacheEntry: `debian-trixie-${process.arch}`,
    program: 'debian.tar',
    ways: [debootstrapWay],
    advice: 'install debootstrap (Debian: debootstrap)',
  };
  return installOnce(recipe, cacheDirectory(), printProgress(process.stderr), signal);
}

/** Fills the folder `program` of what a stand-in is built from. */
const programs: Readonly<Record<string, (folder: string, signal: AbortSignal) => Promise<void>>> = {
  async node(folder) {
    const npm = (await runCommand('npm', ['root', '--global'])).trim();
    await cp(process.execPath, path.join(folder, 'bin', 'node'));
    await copyTree(path.join(npm, 'npm'), path.join(folder, 'lib', 'node_modules', 'npm'));
  },
  async postgres(folder, signal) {
    const program = await find(postgres, signal);
    await copyTree(path.dirname(path.dirname(program)), folder);
  },
  async kafka(folder, signal) {
    await copyTree(await find(kafka, signal), folder);
  },
  async temporal(folder, signal) {
    await cp(await find(temporal, signal), path.join(folder, 'temporal'));
  },
};

/** Keeps links and rights. */
async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await runCommand('cp', ['--archive', '--no-target-directory', from, to]);
}

function find(server: Server, signal: AbortSignal): Promise<string> {
  const report = printProgress(process.stderr);
  return server.find({ directory: '/', ports: defaultPorts, report, signal });
}

/** The machine's authorities, as they are called in a stand-in. */
const authorities = 'authorities.pem';

async function build(
  docker: Docker,
  image: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const source = standInOf(image);
  const context = path.join(directory, path.basename(source));
  await cp(source, context, { recursive: true });
  await mkdir(path.join(context, 'certificates'));
  await programs[path.basename(source)]?.(path.join(context, 'program'), signal);
  const { NODE_EXTRA_CA_CERTS: file } = process.env;
  const variables: string[] = [];
  if (file) {
    await cp(file, path.join(context, 'certificates', authorities), { dereference: true });
    const inImage = `/usr/local/share/machine-certificates/${authorities}`;
    variables.push('--build-arg', `NODE_EXTRA_CA_CERTS=${inImage}`);
  }
  await docker('build', '--quiet', '--network=host', ...variables, '--tag', image, context);
  await rm(context, { recursive: true });
}
