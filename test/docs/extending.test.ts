/** docs/extending.md can still be followed literally: each place that it changes is there, once. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { isLink, readPage, root, targetOf, type Block } from './markdown';

const page = readPage('docs/extending.md');

/** The listing that a block is, if it is one of that language. */
function listingIn(block: Block | undefined, language: string): string | undefined {
  return block?.spans.find((span) => span.language === language)?.content;
}

/** Each part of each file that the page changes, as it is before. */
const places = page.blocks.flatMap((block, index) => {
  const listing = listingIn(block, 'diff');
  if (listing === undefined) return [];
  const link = page.blocks
    .slice(0, index)
    .flatMap(({ spans }) => spans.filter(isLink))
    .at(-1);
  const file = targetOf(page, link!.content)!.file;
  return listing
    .trimEnd()
    .split('\n@@\n')
    .map((part, position) => ({ file, number: position + 1, before: beforeOf(part) }));
});

function beforeOf(part: string): string {
  const kept = part.split('\n').filter((line) => !line.startsWith('+'));
  return kept.map((line) => line.slice(1)).join('\n');
}

test('the page changes files of every room that an event goes through', () => {
  const folders = new Set(places.map(({ file }) => file.split('/')[0]));
  const rooms = ['events', 'activities', 'workflows', 'api', 'operations', 'test'];
  expect([...folders]).toEqual(expect.arrayContaining(rooms));
});

test.each(places)('$file has place $number, once', ({ file, before }) => {
  const text = readFileSync(path.join(root, file), 'utf8');
  expect(`\n${text}`.split(`\n${before}\n`)).toHaveLength(2);
});

test('what the page creates does not exist yet', () => {
  const made = page.blocks.flatMap(({ spans: [code, rest] }) =>
    code?.kind === 'code' && rest?.content === ', new' ? [code.content] : [],
  );
  expect(made.length).toBeGreaterThan(3);
  expect(made.filter((name) => existsSync(path.join(root, name)))).toEqual([]);
});

const viewDefinition = /(?<=VIEW collector\.event_effects AS\n)[^;]*/g;

function readMigrations(): string {
  const folder = path.join(root, 'migrations');
  const files = readdirSync(folder).filter((file) => file.endsWith('.sql'));
  return files
    .sort()
    .map((file) => readFileSync(path.join(folder, file), 'utf8'))
    .join('\n');
}

test('the view of effects is copied whole: nothing that it says now is lost', () => {
  const listing = page.blocks.map((block) => listingIn(block, 'sql')).find(Boolean) ?? '';
  const view = readMigrations().match(viewDefinition)?.at(-1) ?? '';
  const kept = view.split('\n').map((line) => line.replace(/[,)]+$/, ''));
  expect(kept.length).toBeGreaterThan(30);
  expect(kept.filter((line) => !listing.includes(line))).toEqual([]);
});
