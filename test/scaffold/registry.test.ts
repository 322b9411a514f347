/** What `npm run generate` writes is what is committed: a forgotten file or migration is found here. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { releasedProjections } from '../../projections/definition';
import { root } from '../../scaffold/files';
import { plannedProjectionFiles } from '../../scaffold/projections';
import { plannedIndexes } from '../../scaffold/registry';

test.each(plannedIndexes(root))('$file lists its folder (else: npm run generate)', (planned) => {
  expect(readFileSync(path.join(root, planned.file), 'utf8')).toBe(planned.text);
});

test('every declaration has its migration (else: npm run generate)', () => {
  expect(plannedProjectionFiles(root)).toEqual([]);
});

test.each(Object.entries(releasedProjections))(
  'the migration of %s is committed with projections/released.json',
  (table, { migration, definition }) => {
    const folder = path.join(root, 'migrations');
    const number = `${String(migration).padStart(4, '0')}_`;
    const text = readdirSync(folder)
      .filter((file) => file.startsWith(number))
      .map((file) => readFileSync(path.join(folder, file), 'utf8'))
      .join('');
    expect(text).toContain(`'${table}', '${definition}', ${migration}`);
  },
);

describe('a folder', () => {
  let house: string;

  beforeEach(() => {
    house = mkdtempSync(path.join(tmpdir(), 'commerce-event-pipeline-registry-'));
    for (const { file } of plannedIndexes(root))
      mkdirSync(path.join(house, path.dirname(file)), { recursive: true });
  });

  afterEach(() => rmSync(house, { recursive: true }));

  test('registers whatever file is put into it', () => {
    const file = path.join(house, 'events/types/review-posted.ts');
    writeFileSync(file, 'export const reviewPosted = 1;\n');
    const [types] = plannedIndexes(house);
    expect(types).toMatchObject({ file: 'events/types/index.ts' });
    expect(types!.text).toContain(`export { reviewPosted } from './review-posted';\n`);
  });

  test('refuses a file that exports nothing of its name', () => {
    const file = path.join(house, 'projections/tables/user-activity.ts');
    writeFileSync(file, 'export const activity = 1;\n');
    expect(() => plannedIndexes(house)).toThrow('exports no constant userActivity');
  });
});
