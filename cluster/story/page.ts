/** The layout of the story, on a terminal and in a file. */
import type { Paint } from '../paint';

/** Where the story is written. */
export interface Page {
  /** The title of the whole. */
  title(text: string): void;
  step(text: string): void;
  say(text: string): void;
  /** Data read from a system, verbatim. */
  show(text: string): void;
  /** A confirmed assertion. */
  confirmed(text: string): void;
  /** Rows under the names of their columns. */
  table(rows: readonly Readonly<Record<string, unknown>>[]): void;
}

export function createPage(stream: NodeJS.WritableStream, paint: Paint): Page {
  const write = (text: string): void => void stream.write(`${text}\n`);
  return {
    title: (text) => write(`\n${paint('bold', text)}`),
    step: (text) => write(`\n${paint('bold', paint('cyan', text))}`),
    say: (text) => write(`   ${text}`),
    show: (text) => write(`   ${paint('dim', text)}`),
    confirmed: (text) => write(`   ${paint('green', '✓')} ${text}`),
    table(rows) {
      const [header = '', ...lines] = tableLines(rows);
      write(`   ${paint('bold', header)}`);
      for (const line of lines) write(`   ${line}`);
    },
  };
}

function tableLines(rows: readonly Readonly<Record<string, unknown>>[]): string[] {
  const names = Object.keys(rows[0] ?? {});
  const cells = [names, ...rows.map((row) => names.map((name) => cellOf(row[name])))];
  const widths = names.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  );
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function cellOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}
