/** docs/extending.md, followed literally in a copy of the project: what it promises comes out. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { readPage, root } from '../docs/markdown';
import { copyProject, type ProjectCopy } from '../docs/project-copy';
import { stepsOf } from '../docs/walkthrough';

const steps = stepsOf(readPage('docs/extending.md'));
let copy: ProjectCopy;

beforeAll(async () => {
  copy = await copyProject();
});

afterAll(() => copy.remove());

// Whoever has followed the page in this very project has shown it.
const followedHere = existsSync(path.join(root, 'events/types/review-posted.ts'));

(followedHere ? test.skip : test)(
  'the page is followed, and what it leads to is formatted, typed and tested',
  async () => {
    for (const step of steps) {
      // The last step is checked in parts below.
      if (step.kind === 'run' && /typecheck|npm test/.test(step.command)) continue;
      await copy.follow(step);
    }
    const files = steps.flatMap((step) => (step.kind === 'run' ? [] : [step.file]));
    await copy.run('npm run format -- --log-level=error');
    await copy.run('npx tsc --noEmit -p .');
    await copy.run(`npx eslint ${[...new Set(files)].join(' ')} projections events scaffold`);
    await copy.run(jest('unit', 'test/(scaffold|events|projections|api/openapi)|replay'));
    // Beside the files of this run, in this worker's cluster, where each file has a database of its own.
    const { TEST_ENVIRONMENTS: environments = '[]', JEST_WORKER_ID: worker } = process.env;
    const own = JSON.stringify([(JSON.parse(environments) as object[])[Number(worker) - 1]]);
    await copy.run(jest('servers', 'test/integration/(projections|post-review)'), {
      TEST_ENVIRONMENTS: own,
      JEST_WORKER_ID: '1',
    });
  },
  400_000,
);

function jest(project: string, files: string): string {
  return `npx jest --selectProjects=${project} --maxWorkers=1 --testPathPatterns '${files}'`;
}
