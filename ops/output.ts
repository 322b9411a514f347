/**
 * Printing: one JSON value for programs, tables and short lines for people. Results go to standard
 * output, and everything else to standard error, so that a pipe carries results only.
 */
import { styleText } from 'node:util';
import Table from 'cli-table3';

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string | number | null | undefined;
  readonly align?: 'left' | 'right';
}

/** A colour that says how something stands. */
export type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';

/** Where a command prints. */
export interface Output {
  /** Prints a result: as JSON where that was asked for, otherwise as the text that `forPeople` makes. */
  result(value: unknown, forPeople: () => string): void;
  /** Sets text off, where standard output is a terminal that can. */
  paint(style: Style, text: string): string;
  /** Shows how far a long command is; on a terminal in one line that is written over. */
  progress(text: string): void;
  /** Whether a person can be asked. */
  canAsk(): boolean;
}

/** Output to this process's streams. */
export function createOutput({ json }: { readonly json: boolean }): Output {
  const { stdout, stderr, stdin } = process;
  const colourful = !json && stdout.isTTY && stdout.hasColors();
  const progress = createProgress(stderr);
  return {
    result(value, forPeople) {
      progress.end();
      stdout.write(json ? `${JSON.stringify(value, undefined, 2)}\n` : `${forPeople()}\n`);
    },
    paint: (style, text) => (colourful ? styleText(style, text) : text),
    progress: (text) => progress.show(text),
    canAsk: () => stdin.isTTY && stderr.isTTY,
  };
}

/** Lays rows out as a table with a line for its titles. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const layout = new Table({
    head: columns.map(({ title }) => title),
    colAligns: columns.map(({ align = 'left' }) => align),
    chars: borderless,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  for (const row of rows) layout.push(columns.map(({ of }) => String(of(row) ?? '–')));
  return layout
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** A whole number with its thousands set apart. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 event`, `2 events`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

// Columns stand apart by their padding; lines around them would only be in the way of grep and cut.
const borderless = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left']
    .concat(['bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'])
    .map((name) => [name, '']),
);

const plainProgressMs = 2_000;

function createProgress(stream: NodeJS.WriteStream) {
  let shownAt = -Infinity;
  let open = false;
  return {
    show(text: string): void {
      if (stream.isTTY) {
        stream.clearLine(0);
        stream.write(`\r${text}`);
        open = true;
      } else if (performance.now() - shownAt >= plainProgressMs) {
        stream.write(`${text}\n`);
        shownAt = performance.now();
      }
    },
    end(): void {
      if (open) stream.write('\n');
      open = false;
    },
  };
}
