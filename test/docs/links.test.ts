/** What the pages point at is there: files, headings, commands, and the tests that they quote. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { isLink, linksOf, parsePage, readPage, readPages, root, targetOf } from './markdown';
import type { Page } from './markdown';

const pages = readPages();
const { scripts: npmScripts } = JSON.parse(
  readFileSync(path.join(root, 'package.json'), 'utf8'),
) as { scripts: Record<string, string> };

/** What is wrong with a link; undefined when it leads somewhere. */
function faultOf(page: Page, link: string): string | undefined {
  const target = targetOf(page, link);
  if (target === undefined) return undefined;
  const { file, anchor } = target;
  const place = path.join(root, file);
  if (file.startsWith('..') || (file !== page.name && !existsSync(place)))
    return `${link}: there is no ${file}`;
  if (anchor === '') return undefined;
  if (!file.endsWith('.md')) {
    const line = Number(/^L(\d+)$/.exec(anchor)?.[1]);
    const lines = statSync(place).isFile() ? readFileSync(place, 'utf8').split('\n').length : 0;
    return line >= 1 && line <= lines ? undefined : `${link}: there is no such line`;
  }
  const { anchors } = file === page.name ? page : readPage(file);
  return anchors.has(anchor) ? undefined : `${link}: ${file} has no such heading`;
}

function faultsOf(page: Page): string[] {
  return linksOf(page).flatMap((link) => faultOf(page, link) ?? []);
}

function codeOf({ blocks }: Page): string[] {
  return blocks.flatMap(({ spans }) =>
    spans.filter(({ kind }) => kind === 'code').map(({ content }) => content),
  );
}

test('the pages are found', () => {
  const names = pages.map(({ name }) => name);
  expect(names).toEqual(
    expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/README.md']),
  );
  expect(pages.flatMap(linksOf).length).toBeGreaterThan(100);
});

test.each(pages)('every link of $name leads to a file and a heading that exist', (page) => {
  expect(faultsOf(page)).toEqual([]);
});

test.each<[string, string, string]>([
  ['a file', '[x](nowhere.md)', 'nowhere.md: there is no docs/nowhere.md'],
  [
    'a picture',
    '![x](images/nothing.png)',
    'images/nothing.png: there is no docs/images/nothing.png',
  ],
  ['a heading', '# Here\n[x](#there)', '#there: docs/page.md has no such heading'],
  [
    'a heading elsewhere',
    '[x](runbook.md#no)',
    'runbook.md#no: docs/runbook.md has no such heading',
  ],
  ['a line', '[x](../LICENSE#L999)', '../LICENSE#L999: there is no such line'],
  ['a way out', '[x](../../secret)', '../../secret: there is no ../secret'],
  ['a picture in HTML', '<img src="no.png">', 'no.png: there is no docs/no.png'],
])('a link to %s that is not there is found', (_, text, fault) => {
  expect(faultsOf(parsePage('docs/page.md', text))).toEqual([fault]);
});

test('links that are right, other hosts, and what only looks like a link are let through', () => {
  const text = `
# What \`npm start\` does: 1, 2

[a](../README.md) [b](runbook.md#ordersslow) [c](decisions) [d](#what-npm-start-does-1-2)
[e](https://example.org/nothing) <https://example.org> \`[f](nowhere.md)\`

    [g](nowhere.md)`;
  expect(faultsOf(parsePage('docs/page.md', text))).toEqual([]);
});

test('every page below docs/ is in its index', () => {
  const index = readPage('docs/README.md');
  const listed = linksOf(index).map((link) => targetOf(index, link)?.file);
  const names = pages.map(({ name }) => name).filter((name) => name.startsWith('docs/'));
  const missing = names.filter((name) => name !== index.name && !listed.includes(name));
  expect(missing).toEqual([]);
});

test.each(pages)('every npm script that $name mentions exists', (page) => {
  const scripts = codeOf(page).flatMap((code) =>
    [...code.matchAll(/\bnpm (?:run )?(start|test\b(?!:)|(?<=run )[\w:]+)/g)].map(
      ([, name]) => name!,
    ),
  );
  expect(scripts.filter((name) => !Object.hasOwn(npmScripts, name))).toEqual([]);
});

test.each(pages)('every program that $name mentions exists', (page) => {
  const programs = codeOf(page).flatMap((code) =>
    [...code.matchAll(/\b(?:launch\.mjs run|--require \.\/typescript\.cjs) ([\w./-]+)/g)].map(
      ([, name]) => name!,
    ),
  );
  expect(programs.filter((name) => !existsSync(path.join(root, name)))).toEqual([]);
});

/** A test that a page quotes, and the file that it is said to be in. */
interface Quotation {
  readonly file: string;
  readonly title: string;
}

/** What stands in double quotes behind a link to code, up to the next link, is from that file. */
function quotationsOf(page: Page): Quotation[] {
  return page.blocks.flatMap(({ spans }) => {
    let file = '';
    let text = '';
    const found: Quotation[] = [];
    const collect = (): void => {
      if (!file.endsWith('.ts')) return;
      for (const [, title] of text.matchAll(/"([^"]+)"/g)) found.push({ file, title: title! });
    };
    for (const span of spans) {
      if (isLink(span)) {
        collect();
        file = targetOf(page, span.content)?.file ?? '';
        text = '';
      } else text += span.kind === 'code' ? `\`${span.content}\`` : span.content;
    }
    collect();
    return found;
  });
}

/** How the tests of a file, and its groups of tests, are called: as it stands in the file. */
function titlesIn(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const titles: string[] = [];
  const visit = (node: ts.Node): void => {
    if (
      ts.isCallExpression(node) &&
      /^(test|it|describe)\b/.test(node.expression.getText(source))
    ) {
      const title = node.arguments[0] && titleOf(node.arguments[0], source);
      if (title !== undefined) titles.push(title);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return titles;
}

function titleOf(node: ts.Expression, source: ts.SourceFile): string | undefined {
  if (ts.isStringLiteral(node)) return node.text;
  if (ts.isTemplateLiteral(node)) return node.getText(source).slice(1, -1);
  if (!ts.isBinaryExpression(node)) return undefined;
  const [left, right] = [titleOf(node.left, source), titleOf(node.right, source)];
  return left === undefined || right === undefined ? undefined : left + right;
}

/** Faults and invariants have names of their own, which are no tests. */
function isIn({ file, title }: Quotation): boolean {
  if (file.endsWith('.test.ts')) return titlesIn(file).includes(title);
  return readFileSync(path.join(root, file), 'utf8').includes(title);
}

describe('docs/checklist.md', () => {
  test('quotes tests that exist, as they are called', () => {
    const quotations = quotationsOf(readPage('docs/checklist.md'));
    expect(quotations.length).toBeGreaterThan(30);
    const wrong = quotations.filter((quotation) => !isIn(quotation));
    expect(wrong).toEqual([]);
  });

  test('a quotation of a test that is called otherwise is found', () => {
    const here = '[`links.test.ts`](../test/docs/links.test.ts)';
    const page = parsePage('docs/page.md', `${here}: "the pages are found", "the pages are lost"`);
    const quotations = quotationsOf(page);
    expect(quotations.map(({ title }) => title)).toEqual([
      'the pages are found',
      'the pages are lost',
    ]);
    expect(quotations.map(isIn)).toEqual([true, false]);
  });
});
