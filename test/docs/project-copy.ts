/** A copy of the project, in which steps of a page are followed literally. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { root } from './markdown';
import { changeParts, type Step } from './walkthrough';

const execute = promisify(execFile);

/** Such a copy. It has the packages of the project that it is of. */
export interface ProjectCopy {
  readonly folder: string;
  /**
   * Runs a command of a shell in it; resolves with its standard output.
   *
   * @throws Error with the output, when the command fails
   */
  run(command: string, environment?: Readonly<Record<string, string>>): Promise<string>;
  follow(step: Step): Promise<void>;
  remove(): Promise<void>;
}

/** Copies every file that git knows, or would know, as it is now. */
export async function copyProject(): Promise<ProjectCopy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-copy-'));
  const { stdout } = await execute('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root });
  for (const file of stdout.trim().split('\n')) {
    await mkdir(path.join(folder, path.dirname(file)), { recursive: true });
    await cp(path.join(root, file), path.join(folder, file)).catch(ignoreMissing);
  }
  await symlink(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
  const run: ProjectCopy['run'] = (command, environment = {}) =>
    runIn(folder, command, environment);
  return {
    folder,
    run,
    async follow(step) {
      if (step.kind === 'run') await run(step.command);
      else await changeFile(path.join(folder, step.file), step);
    },
    remove: () => rm(folder, { recursive: true }),
  };
}

/** A file that git knows and that was deleted. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

async function runIn(
  folder: string,
  command: string,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const options = { cwd: folder, env: { ...process.env, ...environment }, maxBuffer: 2 ** 26 };
  try {
    const { stdout } = await execute('bash', ['-c', command], options);
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

async function changeFile(file: string, step: Exclude<Step, { kind: 'run' }>): Promise<void> {
  const text =
    step.kind === 'write'
      ? step.text
      : changeParts(step.file, await readFile(file, 'utf8'), step.parts);
  await writeFile(file, text);
}
