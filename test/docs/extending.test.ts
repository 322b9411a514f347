/**
 * docs/extending.md is short, and its places are there; test/integration/extending.test.ts follows it
 * in a copy.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readPage, root } from './markdown';
import { linesOf as linesToLeaveOut, quoted } from './omissions';
import { changeParts, stepsBefore, stepsOf } from './walkthrough';

const steps = stepsOf(readPage('docs/extending.md'));
const changes = steps.filter((step) => step.kind === 'change');

test('the page makes an event, a projection and a command', () => {
  const commands = steps.flatMap((step) => (step.kind === 'run' ? [step.command] : []));
  for (const kind of ['event', 'projection', 'command']) {
    expect(commands).toContainEqual(expect.stringContaining(`npm run new -- ${kind} `));
  }
});

test.each(changes.filter(({ file }) => file.startsWith('projections/tables/')))(
  '$file has the places that the page changes, or is changed',
  ({ file, parts }) => {
    const text = readFileSync(path.join(root, file), 'utf8');
    const isChanged = parts.every(({ after }) => text.includes(after));
    if (!isChanged) expect(() => changeParts(file, text, parts)).not.toThrow();
  },
);

test('an event with three sums takes at most 25 lines in 4 files, a table at most 50 in 3', () => {
  const linesOf = (files: RegExp): number =>
    steps
      .flatMap((step) => {
        if (step.kind === 'run' || !files.test(step.file)) return [];
        if (step.kind === 'write') return step.text.trimEnd().split('\n');
        return step.parts.flatMap(({ before, after }) => {
          const old = before.split('\n');
          return after.split('\n').filter((line) => !old.includes(line));
        });
      })
      .filter((line) => !/^\s*($|\/\*\*|\/\/|import |\} from)/.test(line)).length;
  const event = linesOf(/review-posted\.ts$|product-(effects|metrics|metrics-daily)\.ts$/);
  const table = linesOf(/user-activity\.ts$/);
  expect({ event, table }).toEqual({ event: expect.any(Number), table: expect.any(Number) });
  expect(event).toBeLessThanOrEqual(25);
  expect(table).toBeLessThanOrEqual(50);
});

test('docs/left-out-lines.md says of each line of the event and the table what notices its absence', () => {
  const table = readFileSync(path.join(root, 'docs/left-out-lines.md'), 'utf8');
  const lines = stepsBefore(steps, 'npm run new -- command').flatMap((step) =>
    step.kind === 'run' ? [] : linesToLeaveOut(step).map((line) => `| ${quoted(line)} |`),
  );
  expect(lines.length).toBeGreaterThan(40);
  expect(lines.filter((line) => !table.includes(line))).toEqual([]);
});
