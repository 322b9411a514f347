import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { filesBelow } from '../../workers/workflow-bundle';

describe('The sources that a bundle of workflows is named after', () => {
  test('include those in subfolders: a change in one must not leave a stale bundle in use', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'workflow-bundle-'));
    try {
      await mkdir(path.join(folder, 'commerce', 'deeper'), { recursive: true });
      const files = ['index.ts', 'commerce/saga.ts', 'commerce/deeper/step.ts'];
      for (const file of files) await writeFile(path.join(folder, file), '');
      expect(await filesBelow(folder)).toEqual(
        [...files].sort().map((file) => path.join(folder, file)),
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
