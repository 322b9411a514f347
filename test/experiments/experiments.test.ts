/**
 * A page has the table that an experiment prints: its head, below the command that prints it. Of the
 * writing the Korean text has as many columns.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { experiments } from '../../experiments/experiments';
import { root } from '../docs/markdown';

const read = (name: string): string => readFileSync(path.join(root, name), 'utf8');

/** The head of the first table below the command that runs the experiment. */
function tableBelowCommand(page: string, name: string): string | undefined {
  const [, below = ''] = read(page).split(`\`npm run experiment -- ${name}\``);
  return below.split('\n').find((line) => line.startsWith('| '));
}

describe.each(experiments)('the experiment $name', ({ name, page, columns }) => {
  test('is quoted with the table that it prints', () => {
    expect(tableBelowCommand(page ?? 'docs/writing.md', name)).toBe(`| ${columns.join(' | ')} |`);
  });

  if (page === undefined) {
    test('is quoted in Korean with as many columns', () => {
      const head = tableBelowCommand('docs/writing.ko.md', name) ?? '';
      expect(head.split(' | ')).toHaveLength(columns.length);
    });
  }

  test('is listed', () => {
    expect(read('experiments/README.md')).toContain(`[\`${name}\`](${name}.ts)`);
  });
});
