/** The pages of the repository as readers of GitHub see them: their links, their headings, their code. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Slugger from 'github-slugger';
import MarkdownIt from 'markdown-it';

/** The top folder of the repository. */
export const root = path.join(__dirname, '..', '..');

/** A Markdown file. */
export interface Page {
  /** From the top folder, such as `docs/architecture.md`. */
  readonly name: string;
  readonly blocks: readonly Block[];
  /** The anchors of its headings, as GitHub names them. */
  readonly anchors: ReadonlySet<string>;
}

/** A stretch of text, such as a paragraph or the cell of a table, or a listing. */
interface Block {
  readonly spans: readonly Span[];
}

/** A part of a block: text, code, or what a link leads to. The text of a link is a span of its own. */
export interface Span {
  readonly kind: 'text' | 'code' | 'link';
  readonly content: string;
  /** What a listing is of, such as `diff`; empty for all other spans. */
  readonly language: string;
}

const markdown = new MarkdownIt({ html: true });
type Token = ReturnType<typeof markdown.parse>[number];

// Installed, built, or of the machine.
const foreignFolders = new Set(['node_modules', 'dist', 'coverage']);

/** Every page of the repository. */
export function readPages(folder = ''): Page[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name);
    if (entry.isFile()) return name.endsWith('.md') ? [readPage(name)] : [];
    const skipped = entry.name.startsWith('.') || foreignFolders.has(entry.name);
    return entry.isDirectory() && !skipped ? readPages(name) : [];
  });
}

/** One page, by its name from the top folder. */
export function readPage(name: string): Page {
  return parsePage(name, readFileSync(path.join(root, name), 'utf8'));
}

/** The page that a text is. */
export function parsePage(name: string, text: string): Page {
  const tokens = markdown.parse(text, {});
  const slugger = new Slugger();
  const headings = tokens.filter((_, index) => tokens[index - 1]?.type === 'heading_open');
  return {
    name,
    blocks: tokens.map((token) => ({ spans: spansOf(token) })),
    anchors: new Set(headings.map((heading) => slugger.slug(titleOf(heading)))),
  };
}

/** Every link and picture of a page, as it is written. */
export function linksOf({ blocks }: Page): string[] {
  return blocks.flatMap(({ spans }) => spans.filter(isLink).map(({ content }) => content));
}

/** Whether a span is what a link leads to. */
export function isLink({ kind }: Span): boolean {
  return kind === 'link';
}

/**
 * The file that a link of a page leads to, from the top folder, and the anchor in it; undefined for a
 * link to another host.
 */
export function targetOf(page: Page, link: string): { file: string; anchor: string } | undefined {
  if (/^([a-z][a-z+.-]*:|\/\/)/i.test(link)) return undefined;
  const [address = '', anchor = ''] = link.split('#');
  const here = path.posix.dirname(page.name);
  const file = address === '' ? page.name : path.posix.join(here, decodeURIComponent(address));
  return { file: file.replace(/\/$/, ''), anchor };
}

function titleOf({ children }: Token): string {
  const shown = (children ?? []).filter(({ type }) => type === 'text' || type === 'code_inline');
  return shown.map(({ content }) => content).join('');
}

function spansOf(token: Token): Span[] {
  const { type, content, info, children } = token;
  switch (type) {
    case 'inline':
      return (children ?? []).flatMap(spansOf);
    case 'fence':
    case 'code_block':
      return [{ kind: 'code', content, language: info }];
    case 'code_inline':
      return [{ kind: 'code', content, language: '' }];
    case 'link_open':
      return [link(String(token.attrGet('href')))];
    case 'image':
      return [link(String(token.attrGet('src')))];
    case 'html_inline':
    case 'html_block':
      return [...content.matchAll(/\b(?:href|src)="([^"]*)"/g)].map(([, address]) => link(address));
    default:
      return content === '' ? [] : [{ kind: 'text', content, language: '' }];
  }
}

function link(address: string | null | undefined): Span {
  return { kind: 'link', content: address ?? '', language: '' };
}
