/** What `npm run new` writes: the snapshot is to be read. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../../scaffold/files';
import { plan, type Plan } from '../../scaffold/plan';

/** The new files whole, and of the old ones the lines that are new. */
function written(what: Plan): string {
  const { files, left } = plan(root, what);
  const parts = files.map(({ file, text }) => `--- ${file}\n${newLines(file, text)}`);
  return [...parts, `--- left to do\n${left.join('\n')}`].join('\n');
}

function newLines(file: string, text: string): string {
  try {
    const old = readFileSync(path.join(root, file), 'utf8').split('\n');
    return text
      .split('\n')
      .filter((line) => !old.includes(line))
      .map((line) => `+ ${line}`)
      .join('\n');
  } catch {
    return text;
  }
}

test.each<Plan>([
  { kind: 'event', name: 'ParcelSent', topic: 'order-events' },
  { kind: 'projection', name: 'parcel_counts' },
  { kind: 'command', name: 'viewTwice', event: 'ProductViewed' },
])('of $kind $name', (what) => {
  expect(written(what)).toMatchSnapshot();
});

test.each<[string, Plan, string]>([
  ['a name that is none', { kind: 'event', name: '9 lives' }, '"9 lives" is no name'],
  [
    'a name that is taken',
    { kind: 'event', name: 'like_changed' },
    'like-changed.ts exists already',
  ],
  [
    'a command that names no event',
    { kind: 'command', name: 'sendParcel' },
    'Name the event that it publishes: --event ReviewPosted',
  ],
  [
    'a command without its event',
    { kind: 'command', name: 'sendParcel', event: 'ParcelSent' },
    'There is no event ParcelSent: npm run new -- event ParcelSent first',
  ],
])('refuses %s', (_, what, problem) => {
  expect(() => plan(root, what)).toThrow(problem);
});
