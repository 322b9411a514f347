/** Reads a section of docs/runbook.md, which is written in a small part of Markdown. Pure. */

/** A piece of text. */
export interface Inline {
  readonly kind: 'text' | 'strong' | 'code' | 'emphasis';
  readonly text: string;
  /** The section that it leads to. */
  readonly anchor?: string;
}

/** An item of a section, and those below it. */
export interface Block {
  readonly text: readonly Inline[];
  readonly items: readonly (readonly Inline[])[];
}

/** A section. */
export interface RunbookSection {
  readonly title: string;
  readonly blocks: readonly Block[];
}

/** The section of an anchor; undefined when there is none. */
export function runbookBlocks(runbook: string, anchor: string): RunbookSection | undefined {
  const sections = runbook.split(/^### /m).slice(1);
  const found = sections.find((each) => titleOf(each).toLowerCase() === anchor);
  if (found === undefined) return undefined;
  const [body = ''] = found.split(/^## /m);
  const blocks: { text: Inline[]; items: Inline[][] }[] = [];
  for (const line of body.split('\n')) {
    if (line.startsWith('- ')) blocks.push({ text: readInline(line.slice(2)), items: [] });
    if (line.startsWith('  - ')) blocks.at(-1)?.items.push(readInline(line.slice(4)));
  }
  return { title: titleOf(found), blocks };
}

function titleOf(section: string): string {
  return section.split('\n', 1)[0]!.trim();
}

const pieces = /\*\*(.+?)\*\*|`(.+?)`|\*(.+?)\*|\[(.+?)\]\((.+?)\)/g;

function readInline(line: string): Inline[] {
  const found: Inline[] = [];
  let end = 0;
  for (const match of line.matchAll(pieces)) {
    if (match.index > end) found.push({ kind: 'text', text: line.slice(end, match.index) });
    found.push(toInline(match));
    end = match.index + match[0].length;
  }
  if (end < line.length) found.push({ kind: 'text', text: line.slice(end) });
  return found;
}

function toInline([, strong, code, emphasis, link, target]: readonly (
  string | undefined
)[]): Inline {
  if (strong !== undefined) return { kind: 'strong', text: strong };
  if (code !== undefined) return { kind: 'code', text: code };
  if (emphasis !== undefined) return { kind: 'emphasis', text: emphasis };
  const text = (link ?? '').replaceAll('`', '');
  // Other pages of the documentation are not served.
  return target?.startsWith('#') === true
    ? { kind: 'text', text, anchor: target.slice(1) }
    : { kind: 'text', text: `${text} (docs/${target ?? ''})` };
}
