/** What can be left out of a step of a page: a line, a part of a line, or what a line says. */
import ts from 'typescript';
import type { Step } from './walkthrough';

/** A text without something. */
export interface Omission {
  /** What is missing, for a reader, as Markdown. */
  readonly leftOut: string;
  readonly rest: string;
}

/** The lines that a step adds, but comments, imports, and those that only open or close. */
export function linesOf(step: Exclude<Step, { kind: 'run' }>): string[] {
  const added =
    step.kind === 'write'
      ? step.text.split('\n')
      : step.parts.flatMap(({ before, after }) => {
          const old = before.split('\n');
          return after.split('\n').filter((line) => !old.includes(line));
        });
  return added.filter((line) => !/^\s*(\/\*\*|\/\/|import |[\])}({[,;]*$)/.test(line));
}

/**
 * A text without one of its lines.
 *
 * @throws Error when it is not there, or there twice
 */
export function omittedFrom(text: string, line: string): Omission {
  const lines = text.split('\n');
  const rest = lines.filter((each) => each !== line);
  if (rest.length !== lines.length - 1) throw new Error(`There is not one line of: ${line}`);
  return { leftOut: quoted(line), rest: rest.join('\n') };
}

/** A text without each of the properties that are a part of one of its lines. */
export function partsOf(text: string, lines: readonly string[]): Omission[] {
  return propertiesIn(text, lines).flatMap((node) => {
    const whole = text.slice(node.getStart(), node.end);
    const line = lineOf(text, node);
    if (whole.includes('\n') || line.trim().replace(/,$/, '') === whole) return [];
    const before = text.slice(0, node.getStart());
    const after = text.slice(node.end);
    const rest = after.startsWith(',')
      ? before + after.replace(/^, */, '')
      : before.replace(/, *$/, '') + after;
    return [{ leftOut: `${quoted(whole)} of ${quoted(line)}`, rest }];
  });
}

/** A text in which an event that does something does nothing, as a generator had written it. */
export function unsaidFrom(text: string, lines: readonly string[]): Omission[] {
  return propertiesIn(text, lines).flatMap((node) => {
    if (!ts.isPropertyAssignment(node) || !/^[A-Z]/.test(node.name.getText())) return [];
    if (!ts.isArrowFunction(node.initializer)) return [];
    const { initializer } = node;
    const rest = `${text.slice(0, initializer.getStart())}nothing${text.slice(initializer.end)}`;
    return [
      { leftOut: `${quoted(`${node.name.getText()}: nothing`)} instead of what it does`, rest },
    ];
  });
}

/** The properties of literals that begin in one of the lines. */
function propertiesIn(text: string, lines: readonly string[]): ts.ObjectLiteralElementLike[] {
  const source = ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest, true);
  const found: ts.ObjectLiteralElementLike[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isObjectLiteralElementLike(node) && lines.includes(lineOf(text, node))) found.push(node);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function lineOf(text: string, node: ts.Node): string {
  const begin = text.lastIndexOf('\n', node.getStart()) + 1;
  return text.slice(begin, text.indexOf('\n', begin));
}

/** Code in a table of Markdown. */
export function quoted(text: string): string {
  return text.includes('`') ? `\`\` ${text.trim()} \`\`` : `\`${text.trim()}\``;
}
