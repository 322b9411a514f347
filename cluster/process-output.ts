/**
 * The output of a process: all of it goes to its log file; warnings, errors and lines that are not
 * log lines are also reported.
 */
import { createWriteStream, existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** Called for each warning, error or unstructured line, as one line. */
export type AlarmListener = (text: string) => void;

/** A process's log file. */
export interface OutputLog {
  /** Follows the output of one run of the process. */
  follow(standardOutput: Readable, standardError: Readable): void;
  close(): Promise<void>;
}

const repeatedWithinMs = 10_000;
const warnLevel = 40;
const levelNames: Readonly<Record<number, string>> = { 40: 'warning', 50: 'error', 60: 'fatal' };

/** Opens a log file. The previous run's file is kept beside it, as `….previous`. */
export function openOutputLog(file: string, onAlarm: AlarmListener): OutputLog {
  mkdirSync(dirname(file), { recursive: true });
  if (existsSync(file)) renameSync(file, `${file}.previous`);
  const log = createWriteStream(file, { flags: 'a' });
  log.on('error', (error) => onAlarm(`its log cannot be written: ${error.message}`));
  const alarm = createAlarm(onAlarm);
  const followLines = (stream: Readable, onPlainLine: (line: string) => void): void => {
    createInterface({ input: stream }).on('line', (line) => {
      log.write(`${line}\n`);
      const parsed = parseLogLine(line);
      if (parsed === undefined) onPlainLine(line);
      else raise(parsed, alarm);
    });
  };
  return {
    follow(standardOutput, standardError) {
      followLines(standardOutput, () => undefined);
      // A stack trace, or a configuration error from before there is a logger.
      followLines(standardError, (line) => {
        if (line.trim() !== '') alarm(line);
      });
    },
    close: () => new Promise((resolve) => log.end(resolve)),
  };
}

/** Deduplicates: an outage repeats a message many times; the log file has all of them. */
function createAlarm(onAlarm: AlarmListener): AlarmListener {
  let last = { text: '', at: -Infinity };
  return (text) => {
    const now = performance.now();
    const isRepeated = text === last.text && now - last.at < repeatedWithinMs;
    last = { text, at: now };
    if (!isRepeated) onAlarm(text);
  };
}

/** A line of the project's JSON logs. */
interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly err?: { readonly message?: string };
}

function raise(line: LogLine, alarm: AlarmListener): void {
  if (line.level < warnLevel) return;
  const reason = line.err?.message === undefined ? '' : `: ${line.err.message}`;
  alarm(`${levelNames[line.level] ?? 'warning'}: ${line.msg}${reason}`);
}

function parseLogLine(line: string): LogLine | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const parsed = JSON.parse(line) as Partial<LogLine>;
    return typeof parsed.level === 'number' && typeof parsed.msg === 'string'
      ? (parsed as LogLine)
      : undefined;
  } catch {
    return undefined;
  }
}
