/** What `npm run new` writes: the snapshot is to be read. It does not change with what is declared. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from '../../scaffold/files';
import { plan, type Plan } from '../../scaffold/plan';

/** A project with few declarations: of old files only the places where something is added. */
let house: string;

const oldFiles: Readonly<Record<string, string>> = {
  'events/types/like-changed.ts': '',
  'events/types/product-viewed.ts': '',
  'events/commands/index.ts': `import { registerProduct } from './register-product';

export const commands = [registerProduct] as const;
`,
  'projections/effects/product-effects.ts': `export const productEffects = effects({
  on: {
    LikeChanged: nothing,
  },
});
`,
  'activities/commerce/index.ts': `import { createPublishActivities } from './publish';

/** Connections of the activities. */
    ...createPublishActivities({ relayPool, sender }),
`,
  'workflows/commerce/commands.ts': `import { localFirst, untilStateChanges } from '../activity-policies';

function productOf() {}
`,
  'api/products/command-routes.ts': `import { registerProduct } from '../../events/commands/register-product';

/** The routes of each command, in the order of the OpenAPI document. */
export const productCommandRoutes = {
} satisfies { [Name in CommandName]: readonly CommandRoute<Name>[] };
`,
  'test/workflows/record-histories.ts': `import { registerProduct } from '../../events/commands/register-product';

  {
    name: 'place-order',
  },
`,
};

beforeAll(() => {
  house = mkdtempSync(path.join(tmpdir(), 'commerce-event-pipeline-plan-'));
  for (const [file, text] of Object.entries(oldFiles)) {
    mkdirSync(path.join(house, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(house, file), text);
  }
});

afterAll(() => rmSync(house, { recursive: true }));

function written(what: Plan): string {
  const { files, left } = plan(house, what);
  const parts = files.map(({ file, text }) => `--- ${file}\n${text}`);
  return [...parts, `--- left to do\n${left.join('\n')}`].join('\n');
}

test.each<Plan>([
  { kind: 'event', name: 'ParcelSent', topic: 'order-events' },
  { kind: 'projection', name: 'parcel_counts' },
  { kind: 'command', name: 'viewTwice', event: 'ProductViewed' },
])('of $kind $name', (what) => {
  expect(written(what)).toMatchSnapshot();
  // The places are in the project's own files, too.
  expect(() => plan(root, what)).not.toThrow();
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
