/** Compose: how to run it, and a project of the test's own from the project's Compose file. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import { runCommand } from '../../cluster/command';
import {
  findOrInstall,
  onPathWithVersion,
  type InstallWay,
  type Recipe,
} from '../../cluster/install';
import { printProgress } from '../../cluster/local-cluster';
import { NoEngineError, type Engine } from './engine';
import { applicationImage, root, services, type Service } from './images';

/** A stack of containers, and the engine that has them. */
export interface Project {
  /** Runs a command of Compose; answers what it wrote. `input` is what it reads. */
  compose(parameters: readonly string[], input?: string): Promise<string>;
  /** Runs a command of `docker`. */
  docker(...parameters: string[]): Promise<string>;
  /** The image of ours. */
  readonly image: string;
  readonly signal: AbortSignal;
}

/**
 * The words that a command of Compose begins with: docker's own plugin, or a program that is built once.
 *
 * @throws NoEngineError
 */
export async function findCompose(signal: AbortSignal): Promise<readonly string[]> {
  const plugin = await runCommand('docker', ['compose', 'version']).catch(() => undefined);
  if (plugin !== undefined) return ['docker', 'compose'];
  try {
    return [await findOrInstall(recipe, printProgress(process.stderr), signal)];
  } catch (error) {
    signal.throwIfAborted();
    const why = inChecks ? 'is built by a run without CI=true only' : 'could not be built';
    throw new NoEngineError(`docker has no Compose, and it ${why}`, { cause: error });
  }
}

const version = '2.40.3';

/** Checks are not to take the minutes that building takes: where it was built before, they use it. */
const inChecks = process.env['CI'] === 'true';

/** `go install` refuses a module that excludes versions of others: it is built as one that a module needs. */
const goWay: InstallWay = {
  step: 'building with Go (first time only, takes minutes)',
  fill: async (directory, signal) => {
    const module = 'github.com/docker/compose/v2/cmd';
    const environment = { GOTOOLCHAIN: 'local', CGO_ENABLED: '0' };
    for (const words of [
      ['mod', 'init', 'compose'],
      ['get', `${module}@v${version}`],
      ['build', '-ldflags', '-s -w', '-o', 'docker-compose', module],
    ]) {
      await runCommand('go', words, { cwd: directory, environment, signal });
    }
  },
};

const recipe: Recipe = {
  name: 'compose',
  variable: 'CONTAINER_COMPOSE_PROGRAM',
  variableHolds: 'the program docker-compose',
  onPath: () => onPathWithVersion('docker-compose', /v?(\d+)\.(\d+)/, [2, 24]),
  cacheEntry: `compose-${version}-${process.platform}-${process.arch}`,
  program: 'docker-compose',
  ways: inChecks ? [] : [goWay],
  advice: 'install the Compose plugin of Docker',
};

/** A project of the test's own, with its override file in `directory`. Nothing of it runs yet. */
export async function createProject(
  command: readonly string[],
  engine: Engine,
  directory: string,
  signal: AbortSignal,
): Promise<Project> {
  const name = `commerce-event-pipeline-test-${process.pid}`;
  const image = engine.isOwn ? applicationImage : name;
  const override = path.join(directory, 'override.yml');
  await writeFile(override, overrideOf(services(), engine, image));
  const environment = {
    ...engine.environment,
    COMPOSE_PROFILES: '',
    CLUSTER_KAFKA_BROKERS: '',
    // The builder that every engine has.
    ...(engine.isOwn ? { DOCKER_BUILDKIT: '0' } : {}),
  };
  const files = ['--file', path.join(root, 'docker-compose.yml'), '--file', override];
  const [program, ...leading] = [...command, '--project-name', name, ...files];
  return {
    image,
    signal,
    compose: (parameters, input = '') =>
      runCommand(program!, [...leading, ...parameters], { environment, input, signal, cwd: root }),
    docker: (...parameters) => runCommand('docker', parameters, { environment, signal }),
  };
}

/** In which way the stack of the test differs from what `docker compose up` brings up. */
export function overrideOf(
  all: Readonly<Record<string, Service>>,
  { isOwn, version: engineVersion }: Pick<Engine, 'isOwn' | 'version'>,
  image: string,
): string {
  const isOld = Number.parseInt(engineVersion) < firstWithStartInterval;
  const overridden = Object.entries(all).map(([name, service]) => {
    const ours = service.image === applicationImage;
    return [
      name,
      {
        ...(ours && image !== applicationImage ? { image } : {}),
        ...(service.build !== undefined && isOwn ? { build: { network: 'host' } } : {}),
        ...(isOld && service.healthcheck !== undefined
          ? { healthcheck: { interval: '1s', start_interval: reset } }
          : {}),
        ...(!isOwn && service.ports !== undefined ? { ports: reset } : {}),
      },
    ];
  });
  return stringify({ services: Object.fromEntries(overridden) }).replaceAll(reset, '!reset null');
}

/** Before it an engine refuses `start_interval`. */
const firstWithStartInterval = 25;

/** Compose's own tag, which takes a value of the file before away. */
const reset = 'RESET';

/** What a reader of the result has to know of {@link overrideOf}. */
export function differencesOf({ isOwn, version: engineVersion }: Engine): string[] {
  const isOld = Number.parseInt(engineVersion) < firstWithStartInterval;
  return [
    ...(isOwn ? ['the image is built without BuildKit, in the network of this machine'] : []),
    ...(isOwn ? [] : ['no port is published']),
    ...(isOld ? ['health is checked each second, since this engine has no start_interval'] : []),
  ];
}
