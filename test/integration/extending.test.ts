/** docs/extending.md, followed literally in a copy of the project: what it promises comes out. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { readPage, root } from '../docs/markdown';
import { changeParts, stepsOf, type Step } from '../docs/walkthrough';

const run = promisify(execFile);
const steps = stepsOf(readPage('docs/extending.md'));
let copy: string;

beforeAll(async () => {
  copy = await mkdtemp(path.join(tmpdir(), 'commerce-event-pipeline-extending-'));
  const { stdout } = await run('git', ['ls-files', '-co', '--exclude-standard'], { cwd: root });
  for (const file of stdout.trim().split('\n')) {
    await mkdir(path.join(copy, path.dirname(file)), { recursive: true });
    await cp(path.join(root, file), path.join(copy, file)).catch(ignoreMissing);
  }
  await symlink(path.join(root, 'node_modules'), path.join(copy, 'node_modules'));
});

afterAll(() => rm(copy, { recursive: true }));

/** A file that git knows and that was deleted. */
function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

/** Ends with the output as the error where a command fails. */
async function inCopy(command: string, environment: Record<string, string> = {}): Promise<string> {
  const options = { cwd: copy, env: { ...process.env, ...environment }, maxBuffer: 2 ** 26 };
  try {
    const { stdout } = await run('bash', ['-c', command], options);
    return stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

async function follow(step: Step): Promise<void> {
  switch (step.kind) {
    case 'run':
      // The last step is checked in parts below.
      if (!/typecheck|npm test/.test(step.command)) await inCopy(step.command);
      break;
    case 'write':
      await writeFile(path.join(copy, step.file), step.text);
      break;
    case 'change': {
      const file = path.join(copy, step.file);
      await writeFile(file, changeParts(step.file, await readFile(file, 'utf8'), step.parts));
    }
  }
}

test('the page is followed, and what it leads to is formatted, typed and tested', async () => {
  for (const step of steps) await follow(step);
  const files = steps.flatMap((step) => (step.kind === 'run' ? [] : [step.file]));
  await inCopy('npm run format -- --log-level=error');
  await inCopy('npx tsc --noEmit -p .');
  await inCopy(`npx eslint ${[...new Set(files)].join(' ')} projections events scaffold`);
  await inCopy(jest('unit', 'test/(scaffold|events|projections|workflows/replay|api/openapi)'));
  // Beside the files of this run, in this worker's cluster, where each file has a database of its own.
  const { TEST_ENVIRONMENTS: environments = '[]', JEST_WORKER_ID: worker } = process.env;
  const own = JSON.stringify([(JSON.parse(environments) as object[])[Number(worker) - 1]]);
  await inCopy(jest('servers', 'test/integration/(projections|post-review)'), {
    TEST_ENVIRONMENTS: own,
    JEST_WORKER_ID: '1',
  });
}, 400_000);

function jest(project: string, files: string): string {
  return `npx jest --selectProjects=${project} --maxWorkers=1 --testPathPatterns '${files}'`;
}
