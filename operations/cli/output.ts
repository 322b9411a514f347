/**
 * Output: one JSON value for programs, tables and short lines for people. Results go to standard
 * output, everything else to standard error.
 */
import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string | number | null | undefined;
  readonly align?: 'left' | 'right';
}

/** The colour of a status. */
type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';

/** Progress of a long command. */
export interface Progress {
  /** What it is doing, such as `redriving`. */
  readonly doing: string;
  /** Omitted where the total is unknown. */
  readonly share?: { readonly done: number; readonly total: number };
}

/** Where a command prints. */
export interface Output {
  /** Prints a result: as JSON with `--json`, otherwise the text of `forPeople`. */
  result(value: unknown, forPeople: () => string): void;
  /** Prints a message that is not part of the result. */
  note(text: string): void;
  /** Styles text, if standard output is a terminal with colours. */
  paint(style: Style, text: string): string;
  /** Shows progress: a bar on a terminal, otherwise a line every other second. */
  progress(progress: Progress): void;
  /** Whether the session is interactive: no `--json`, and a terminal on both ends. */
  canAsk(): boolean;
  /** Asks for confirmation. @returns whether the answer is yes; no answer is no */
  ask(question: string): Promise<boolean>;
  /** Restores the terminal. */
  close(): void;
}

/** Where a command reads from and prints to. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** Output to these streams. */
export function createOutput(
  { json }: { readonly json: boolean },
  { stdin, stdout, stderr }: Streams,
): Output {
  // hasColors() honours NO_COLOR and the like.
  const colourful = !json && stdout.isTTY && stdout.hasColors();
  const progress = stderr.isTTY ? createBar(stderr) : createLines(stderr);
  return {
    result(value, forPeople) {
      progress.end();
      stdout.write(json ? `${JSON.stringify(value, undefined, 2)}\n` : `${forPeople()}\n`);
    },
    note(text) {
      progress.end();
      stderr.write(`${text}\n`);
    },
    paint: (style, text) => (colourful ? styleText(style, text, { validateStream: false }) : text),
    progress: (step) => progress.show(step),
    canAsk: () => !json && stdin.isTTY && stdout.isTTY,
    async ask(question) {
      const terminal = createInterface({ input: stdin, output: stdout });
      try {
        return await new Promise<boolean>((resolve) => {
          // Ctrl-D and Ctrl-C.
          terminal.once('close', () => resolve(false));
          terminal.question(`${question} [y/N] `, (answer) => resolve(isYes(answer)));
        });
      } finally {
        terminal.close();
      }
    },
    close: () => progress.end(),
  };
}

function isYes(answer: string): boolean {
  return /^y(es)?$/i.test(answer.trim());
}

/** Formats rows as a table with a header. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { paint }: Pick<Output, 'paint'>,
): string {
  const layout = new Table({
    head: columns.map(({ title }) => paint('bold', title)),
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

/** An integer with thousands separators. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 event`, `2 events`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`;
}

// Padding only: borders would get in the way of grep and cut.
const borderless = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left']
    .concat(['bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'])
    .map((name) => [name, '']),
);

interface ProgressDisplay {
  show(progress: Progress): void;
  /** Ends the current display; another may follow. */
  end(): void;
}

/** A progress bar; a line for steps without a total. */
function createBar(stream: NodeJS.WriteStream): ProgressDisplay {
  let bar: SingleBar | undefined;
  let doing: string | undefined;
  const end = (): void => {
    bar?.stop();
    bar = undefined;
    doing = undefined;
  };
  return {
    end,
    show({ doing: now, share }) {
      if (now !== doing) end();
      if (share === undefined) {
        if (now !== doing) stream.write(`${now}\n`);
      } else if (bar === undefined) {
        bar = new SingleBar({ stream, ...barOptions }, Presets.shades_classic);
        bar.start(share.total, share.done, { doing: now });
      } else {
        bar.setTotal(share.total);
        bar.update(share.done);
      }
      doing = now;
    },
  };
}

const barOptions = {
  format: '{doing} {bar} {value} of {total} ({percentage} %)',
  formatValue: (value: number, _options: unknown, type: string) =>
    type === 'percentage' ? String(value) : formatCount(value),
  // So the terminal needs no restoring, however the process ends.
  hideCursor: false,
  gracefulExit: false,
};

const lineEveryMs = 2_000;

/** For logs: rate-limited, not a line per step. */
function createLines(stream: NodeJS.WriteStream): ProgressDisplay {
  let shownAt = -Infinity;
  return {
    show({ doing, share }) {
      if (performance.now() - shownAt < lineEveryMs) return;
      const howFar =
        share === undefined ? '' : `: ${formatCount(share.done)} of ${formatCount(share.total)}`;
      stream.write(`${doing}${howFar}\n`);
      shownAt = performance.now();
    },
    end: () => undefined,
  };
}
