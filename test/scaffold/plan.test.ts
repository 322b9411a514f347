/** What `npm run new` writes: the snapshot is to be read. It does not change with what is declared. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from '../../scaffold/files';
import { plan, type Plan } from '../../scaffold/plan';

/** The project with few declarations. */
let house: string;

beforeAll(() => {
  house = mkdtempSync(path.join(tmpdir(), 'commerce-event-pipeline-plan-'));
  for (const file of [
    'events/types/like-changed.ts',
    'events/types/product-viewed.ts',
    'events/commands/index.ts',
    'projections/effects/product-effects.ts',
    'activities/commerce/index.ts',
    'workflows/commerce/commands.ts',
    'api/products/command-routes.ts',
    'test/workflows/record-histories.ts',
  ]) {
    cpSync(path.join(root, file), path.join(house, file));
  }
});

afterAll(() => rmSync(house, { recursive: true }));

/** The new files whole, and of the old ones the lines that are new. */
function written(what: Plan): string {
  const { files, left } = plan(house, what);
  const parts = files.map(({ file, text }) => `--- ${file}\n${newLines(file, text)}`);
  return [...parts, `--- left to do\n${left.join('\n')}`].join('\n');
}

function newLines(file: string, text: string): string {
  try {
    const old = readFileSync(path.join(house, file), 'utf8').split('\n');
    return text
      .split('\n')
      .filter((line) => !old.includes(line))
      .map((line) => `+ ${line.replace(/\[.*, (\w+)\] as/, '[…, $1] as')}`)
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
  ['a name that is taken', { kind: 'event', name: 'like_changed' }, 'like-changed.ts exists'],
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
  expect(() => plan(house, what)).toThrow(problem);
});
