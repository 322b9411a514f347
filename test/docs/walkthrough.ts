/** A page as steps that can be followed literally: commands, files that are written, files that change. */
import { isLink, targetOf, type Page } from './markdown';

/** One step of a page, in its order. */
export type Step =
  | { readonly kind: 'run'; readonly command: string }
  | { readonly kind: 'write'; readonly file: string; readonly text: string }
  | { readonly kind: 'change'; readonly file: string; readonly parts: readonly Part[] };

/** A part of a file, as it is before and after a change. */
export interface Part {
  readonly before: string;
  readonly after: string;
}

/** The steps of a page. */
export function stepsOf(page: Page): Step[] {
  let file = '';
  return page.blocks.flatMap(({ spans }): Step[] => {
    const [first, second] = spans;
    if (first?.kind === 'code' && second?.content === ', filled in') file = first.content;
    if (first !== undefined && isLink(first) && second?.kind === 'code') {
      file = fileOf(page, first.content, second.content);
    }
    switch (first?.language) {
      case 'sh':
        return first.content
          .trim()
          .split('\n')
          .map((command) => ({ kind: 'run', command }));
      case 'ts':
        return [{ kind: 'write', file, text: first.content }];
      case 'diff':
        return [
          { kind: 'change', file, parts: first.content.trimEnd().split('\n@@\n').map(partOf) },
        ];
      default:
        return [];
    }
  });
}

/** The steps before the first command that begins so. */
export function stepsBefore(steps: readonly Step[], beginning: string): readonly Step[] {
  const end = steps.findIndex((step) => step.kind === 'run' && step.command.startsWith(beginning));
  if (end < 0) throw new Error(`No step runs ${beginning}.`);
  return steps.slice(0, end);
}

/** A file that a step makes cannot be linked to: the link is its folder's, and its text the name. */
function fileOf(page: Page, link: string, text: string): string {
  const { file } = targetOf(page, link)!;
  return link.endsWith('/') ? text : file;
}

function partOf(listing: string): Part {
  const lines = listing.split('\n');
  const without = (mark: string): string =>
    lines
      .filter((line) => !line.startsWith(mark))
      .map((line) => line.slice(1))
      .join('\n');
  return { before: without('+'), after: without('-') };
}

/**
 * A text with its parts changed.
 *
 * @throws Error when a part is not there, or there twice
 */
export function changeParts(file: string, text: string, parts: readonly Part[]): string {
  return parts.reduce((current, { before, after }) => {
    const found = current.split(before).length - 1;
    if (found !== 1) throw new Error(`${file} has this ${found} times:\n${before}`);
    return current.replace(before, () => after);
  }, text);
}
