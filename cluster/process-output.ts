/**
 * The output of a process: all of it goes to its log file; warnings, errors, recoveries and lines that
 * are not log lines are also reported.
 */
import { createWriteStream, existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

/** Called for each warning, error, recovery or unstructured line, as one line. */
export type AlarmListener = (text: string) => void;

/** A process's log file. */
export interface OutputLog {
  /** Follows the output of one run of the process. */
  follow(standardOutput: Readable, standardError: Readable): void;
  close(): Promise<void>;
}

const repeatedWithinMs = 10_000;
const rememberedCauses = 100;
const recovery = / (available again|reconnected)$/;
const separator = ': ';
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

type Alarm = (text: string, cause?: string) => void;

/** Deduplicates by cause: an outage fails many things many times; the log file has all of them. */
function createAlarm(onAlarm: AlarmListener): Alarm {
  const toldAt = new Map<string, number>();
  return (text, cause = text) => {
    const now = performance.now();
    const isRepeated = now - (toldAt.get(cause) ?? -Infinity) < repeatedWithinMs;
    if (toldAt.size >= rememberedCauses) toldAt.clear();
    toldAt.set(cause, now);
    if (!isRepeated) onAlarm(text);
  };
}

/** A line of the project's JSON logs. */
interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly err?: { readonly message?: string };
  /** Of an activity that failed. */
  readonly workflowId?: string;
  readonly temporal?: {
    readonly activityType?: string;
    readonly attempt?: number;
    readonly error?: { readonly type?: string };
  };
}

function raise(line: LogLine, alarm: Alarm): void {
  if (recovery.test(line.msg)) return alarm(line.msg);
  if (line.level < warnLevel) return;
  const level = levelNames[line.level] ?? 'warning';
  const failure = describeFailedActivity(line);
  if (failure !== undefined) return alarm(`${level}: ${failure}`);
  const reason = withoutRepetition(line.err?.message ?? '');
  if (reason === '') return alarm(`${level}: ${line.msg}`);
  alarm(`${level}: ${line.msg}: ${reason}`, reason);
}

/** `activity publishOutbox of order-… failed (attempt 2): KAFKA_UNAVAILABLE`. */
function describeFailedActivity({ workflowId, temporal }: LogLine): string | undefined {
  const { activityType, attempt, error } = temporal ?? {};
  if (activityType === undefined || error === undefined) return undefined;
  const tries = attempt === undefined ? '' : ` (attempt ${attempt})`;
  const reason = error.type === undefined ? '' : `: ${error.type}`;
  return `activity ${activityType} of ${workflowId ?? 'a workflow'} failed${tries}${reason}`;
}

// The logger appends the message of the cause, which kafkajs has copied.
function withoutRepetition(message: string): string {
  const half = message.slice(0, (message.length - separator.length) / 2);
  return message === `${half}${separator}${half}` ? half : message;
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
