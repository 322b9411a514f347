/**
 * The simulator's write-ahead log: an append-only file with one JSON record per line. A record is
 * on disk before its change is made in memory or reported, so money that was reported as captured
 * is still captured after `kill -9`.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** The journal can't be read or written; the message says where and what to do. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
  readonly code = 'JOURNAL_FAILED';
}

/** An append-only list of JSON records, durable when it has a file. */
export class Journal {
  private failure: JournalError | undefined;

  private constructor(
    private readonly descriptor: number | undefined,
    /** The records that the file held when it was opened, oldest first. */
    readonly recorded: readonly unknown[],
  ) {}

  /**
   * Opens the journal and reads what it holds. An incomplete last line comes from a process killed
   * while writing; that record was never reported, so it is truncated.
   *
   * @param file made with its folders when missing; `undefined` keeps the records in memory only.
   * @throws JournalError when a complete line is not JSON: another program wrote to the file.
   */
  static open(file: string | undefined): Journal {
    if (file === undefined) return new Journal(undefined, []);
    mkdirSync(dirname(file), { recursive: true });
    const recorded = existsSync(file) ? readRecords(file) : [];
    return new Journal(openSync(file, 'a'), recorded);
  }

  /**
   * Writes a record; it is on the disk when this returns. Synchronous on purpose: nothing else can
   * happen between a decision about money and its record.
   *
   * @throws JournalError when the write fails. From then on every call throws: only a restart,
   * which reads the file again, can tell what the failed write left behind.
   */
  append(record: object): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.descriptor === undefined) return;
    try {
      writeWhole(this.descriptor, Buffer.from(`${JSON.stringify(record)}\n`));
      fsyncSync(this.descriptor);
    } catch (cause) {
      this.failure = new JournalError(
        'the data file of the payments simulator cannot be written; free disk space and restart it',
        { cause },
      );
      throw this.failure;
    }
  }

  /** Closes the file. Later calls of `append` throw. */
  close(): void {
    this.failure ??= new JournalError('the payments simulator has been stopped; start it again');
    if (this.descriptor !== undefined) closeSync(this.descriptor);
  }
}

function readRecords(file: string): unknown[] {
  const bytes = readFileSync(file);
  const completeLength = bytes.lastIndexOf('\n') + 1;
  if (completeLength < bytes.length) truncateSync(file, completeLength);

  const lines = bytes.toString('utf8', 0, completeLength).split('\n').slice(0, -1);
  return lines.map((line, index) => parseLine(line, `${file}:${index + 1}`));
}

function parseLine(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new JournalError(`${place} is not a record of the payments simulator; delete the file`, {
      cause,
    });
  }
}

/** A write may be partial: repeat until all bytes are written. */
function writeWhole(descriptor: number, bytes: Buffer): void {
  let written = 0;
  while (written < bytes.length) written += writeSync(descriptor, bytes, written);
}
