/**
 * A spool: records that wait on the disk until somebody has acknowledged them. It outlives the process:
 * a record is in its file, in the operating system's hands, before `append` resolves.
 *
 * - **One disk call at a time.** Whatever the spool does with the disk waits for what it did before: a disk
 *   that hangs holds one thread, and nobody waits for it longer than a bound.
 * - **Written in groups.** All records of a moment, and all that come while the disk is at work, are one
 *   write. None is flushed to the device (`fdatasync`): a killed process loses nothing by that, a power
 *   cut may take the last records.
 * - **In segments.** A file takes records up to a size, and is deleted when all of its records are
 *   acknowledged; what is left in files with little in them is brought together. A record that was
 *   acknowledged may so come again after a crash.
 * - **Shared by processes.** Each writes files of its own, and touches them several times in a lease. A
 *   file that did not change while somebody looked at it for a lease is abandoned: whoever renames it first
 *   adopts it. No clocks are compared. A record counts as kept only if its file still has its name after
 *   the write: who renames it later reads it later, and finds the record. Otherwise (a process that was
 *   frozen for long) it is written again, into a new file.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, stat, unlink, utimes } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from '../observability/logger';
import { createBackoff, pause, resultWithin, type Backoff } from '../process/waiting';
import { decodeFrames, encodeFrame, type ReadFrames } from './frames';

/** Where a record lies. */
export interface SpoolPlace {
  readonly segment: Segment;
  readonly index: number;
}

/** A record that was read back. */
export interface SpooledRecord {
  readonly line: string;
  readonly place: SpoolPlace;
}

/** Records that wait on the disk. */
export interface Spool {
  /**
   * Keeps a record, a text without line feeds. It is held by the caller, who acknowledges or leaves it.
   *
   * @returns where it lies, once it survives the death of this process; undefined when it is not kept:
   *   the spool is full, or the disk refuses it or takes too long. Never rejects.
   */
  append(line: string): Promise<SpoolPlace | undefined>;
  /** The record is not needed any more. */
  acknowledge(place: SpoolPlace): void;
  /** The record is left for `left` to return. */
  leave(place: SpoolPlace): void;
  /**
   * The records that nobody has acknowledged, some at a time, those of earlier processes among them.
   * They are held by the caller. Those of a file come once nobody holds another record of it, or at once
   * with `evenHeld`, the held ones among them.
   */
  left(options?: { readonly evenHeld?: boolean }): AsyncGenerator<readonly SpooledRecord[]>;
  /** How many bytes of files this process has, adopted ones among them. */
  readonly bytes: number;
  /** Closes the files, if the disk allows it in a few seconds. What is left may be adopted at once. */
  stop(): Promise<void>;
}

/** What has become of records that were kept, seen afterwards. */
export type SpoolFault =
  /** A group of records, several side by side, or the end of a file, cannot be read. */
  | 'damaged_group'
  /** A file is gone: another process has adopted it with its records, or somebody has deleted it. */
  | 'missing_file';

export interface SpoolOptions {
  /** Most bytes of files that this process writes; what is beyond is not kept. Adopted ones do not count. */
  readonly maxBytes: number;
  /** At how many bytes a file is full. */
  readonly segmentBytes?: number;
  /** How long a file has to stay untouched to be abandoned, in ms. */
  readonly leaseMs?: number;
  /** How long `append` waits for the disk, in ms. */
  readonly patienceMs?: number;
  /** How long nothing is kept after an error or a wait in vain, in ms; it doubles up to a minute. */
  readonly refusalMs?: number;
  /** How long opening, reading and stopping wait for the disk, in ms. */
  readonly diskTimeoutMs?: number;
  /** Is told every fault. */
  readonly onFault?: (fault: SpoolFault) => void;
}

/** The directory of a spool is none, or forbidden. Not retryable: it takes an operator. */
export class SpoolUnusableError extends Error {
  override readonly name = 'SpoolUnusableError';
  readonly code = 'SPOOL_UNUSABLE';
}

/**
 * Opens the spool of this process in a directory, which is created if it is missing, and adopts what
 * others have left there. With a disk that fails or hangs it keeps nothing, and tries again later.
 *
 * @throws SpoolUnusableError when the path is no directory, or may not be written
 */
export async function openSpool(
  directory: string,
  logger: Logger,
  options: SpoolOptions,
): Promise<Spool> {
  const spool = new SegmentedSpool(directory, logger, {
    segmentBytes: 1024 * 1024,
    leaseMs: 10_000,
    patienceMs: 250,
    refusalMs: 1_000,
    diskTimeoutMs: 2_000,
    onFault: () => undefined,
    ...options,
  });
  await spool.open();
  return spool;
}

/** A file. */
interface Segment {
  readonly path: string;
  readonly isAdopted: boolean;
  /** Present while it takes records. */
  handle: FileHandle | undefined;
  bytes: number;
  /** Undefined until a file of another process has been read. */
  records: number | undefined;
  /** Indexes of records. */
  readonly acknowledged: Set<number>;
  /** How many records somebody is at work on. */
  held: number;
}

/** Records that are written together. */
interface Group {
  readonly lines: string[];
  bytes: number;
  readonly written: Promise<Written | undefined>;
  /** Once; later calls change nothing. */
  settle(written: Written | undefined): void;
}

/** Where a group lies. */
interface Written {
  readonly segment: Segment;
  readonly first: number;
}

/** How a file of another process looked. */
interface Sighting {
  readonly mtimeMs: number;
  /** How many looks after the first have found it unchanged. */
  readonly unchanged: number;
}

const recordsAtATime = 500;
const fileName = /^([0-9a-f-]{36})-\d+\.spool$/;
const logIntervalMs = 1_000;
const longestRefusalMs = 60_000;
const looksInLease = 4;
const patienceTicks = 5;
const unusableCodes = new Set(['ENOTDIR', 'EEXIST', 'EACCES', 'EPERM']);

class SegmentedSpool implements Spool {
  private readonly owner = randomUUID();
  private readonly segments = new Set<Segment>();
  private readonly stopping = new AbortController();
  /** Settles when the last disk call has. */
  private disk: Promise<unknown> = Promise.resolve();
  /** The group that takes records. */
  private gathering: Group | undefined;
  private readonly unsettled = new Set<Group>();
  private current: Segment | undefined;
  private sightings: ReadonlyMap<string, Sighting> = new Map();
  private maintaining: Promise<void> | undefined;
  private isPrepared = false;
  private fileCount = 0;
  /** Whether the disk is at work for longer than anybody should wait. */
  private isStalled = false;
  private refusesUntil = 0;
  private readonly refusals: Backoff;
  private readonly loggedAt = new Map<string, number>();

  constructor(
    private readonly directory: string,
    private readonly logger: Logger,
    private readonly options: Required<SpoolOptions>,
  ) {
    this.refusals = createBackoff({ firstMs: options.refusalMs, longestMs: longestRefusalMs });
  }

  get bytes(): number {
    return sumOf(this.segments, ({ bytes }) => bytes);
  }

  async open(): Promise<void> {
    try {
      await this.onDiskInTime(() => this.prepare());
      await resultWithin(this.adoptAbandoned(), this.options.diskTimeoutMs, undefined);
    } catch (error) {
      if (unusableCodes.has(codeOf(error) ?? '')) {
        const message = `${this.directory} cannot be used: ${(error as Error).message}`;
        throw new SpoolUnusableError(message, { cause: error });
      }
      this.refuse();
      this.warn({ err: error }, 'the spool cannot be opened; records are not kept; retrying');
    }
    this.maintaining = this.maintain();
  }

  append(line: string): Promise<SpoolPlace | undefined> {
    if (this.isStalled || performance.now() < this.refusesUntil) return Promise.resolve(undefined);
    const bytes = Buffer.byteLength(line);
    if (this.ownBytes() + bytes > this.options.maxBytes) {
      this.warn({ maxBytes: this.options.maxBytes }, 'the spool is full; records are not kept');
      return Promise.resolve(undefined);
    }
    const group = (this.gathering ??= this.gather());
    const number = group.lines.push(line) - 1;
    group.bytes += bytes;
    return group.written.then(
      (written) => written && { segment: written.segment, index: written.first + number },
    );
  }

  acknowledge({ segment, index }: SpoolPlace): void {
    segment.held -= 1;
    segment.acknowledged.add(index);
    this.deleteIfDone(segment);
  }

  leave({ segment }: SpoolPlace): void {
    segment.held -= 1;
  }

  async *left({ evenHeld = false } = {}): AsyncGenerator<readonly SpooledRecord[]> {
    const isFree = (segment: Segment): boolean => evenHeld || segment.held === 0;
    // What is being written is among it.
    await this.onDiskInTime(async () => undefined);
    for (const segment of [...this.segments]) {
      if (isDone(segment) || !isFree(segment)) continue;
      const records = await this.onDiskInTime(async () =>
        isFree(segment) ? this.readSealed(segment) : [],
      );
      if (records === undefined) return;
      yield* this.inParts(segment, records);
    }
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    const { diskTimeoutMs } = this.options;
    const isClosed = await resultWithin(
      this.close().then(() => true),
      diskTimeoutMs,
      false,
    );
    if (!isClosed) this.warn({ diskTimeoutMs }, 'the disk of the spool hangs; files stay open');
  }

  // The disk

  /** Runs `work` when the disk has nothing else to do. Work must not wait for other work. */
  private onDisk<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.disk.then(work);
    this.disk = result.catch(() => undefined);
    return result;
  }

  /** @returns undefined when the disk takes too long */
  private async onDiskInTime<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
    const { diskTimeoutMs } = this.options;
    const late = Symbol('late');
    const result = await resultWithin(this.onDisk(work), diskTimeoutMs, late);
    if (result !== late) return result;
    this.warn({ diskTimeoutMs }, 'the disk of the spool hangs');
    return undefined;
  }

  // Writing

  /** Bytes that this process has written and is about to write. */
  private ownBytes(): number {
    const written = sumOf(this.segments, ({ isAdopted, bytes }) => (isAdopted ? 0 : bytes));
    return written + sumOf(this.unsettled, ({ bytes }) => bytes);
  }

  private gather(): Group {
    let resolve: Group['settle'];
    // In ticks: a process that had no processor for that long must not take the disk for slow.
    let ticks = 0;
    const patience = setInterval(() => {
      ticks += 1;
      if (ticks === patienceTicks) this.stall();
    }, this.options.patienceMs / patienceTicks);
    const group: Group = {
      lines: [],
      bytes: 0,
      written: new Promise((settle) => (resolve = settle)),
      settle: (written) => {
        clearInterval(patience);
        this.unsettled.delete(group);
        resolve(written);
      },
    };
    this.unsettled.add(group);
    void this.onDisk(() => this.writeGathered(group));
    return group;
  }

  private async writeGathered(group: Group): Promise<void> {
    // The others of this moment come before the event loop turns.
    await new Promise(setImmediate);
    if (this.gathering === group) this.gathering = undefined;
    // Nobody waits any more for what has taken too long.
    if (this.unsettled.has(group)) await this.writeGroup(group);
    if (this.isStalled) this.refuse();
    this.isStalled = false;
  }

  private async writeGroup(group: Group): Promise<void> {
    try {
      const written = await this.writeLines(group.lines);
      // A write that took too long has left its records.
      if (!this.unsettled.has(group)) return;
      this.refusals.reset();
      written.segment.held += group.lines.length;
      group.settle(written);
    } catch (error) {
      this.refuse();
      this.warn({ err: error }, 'the spool cannot be written; records are not kept');
      this.settleNothingKept();
    }
  }

  private async writeLines(lines: readonly string[]): Promise<Written> {
    for (;;) {
      const segment = await this.segmentToWrite();
      const first = await this.writeFrame(segment, lines);
      if (first !== undefined) return { segment, first };
    }
  }

  private async segmentToWrite(): Promise<Segment> {
    if (!this.isPrepared) await this.prepare();
    if (this.current !== undefined && this.current.bytes >= this.options.segmentBytes) {
      await this.seal(this.current);
    }
    return (this.current ??= await this.createSegment());
  }

  /** @returns the index of the first line; undefined when another process may have read the file before */
  private async writeFrame(
    segment: Segment,
    lines: readonly string[],
  ): Promise<number | undefined> {
    const frame = encodeFrame(lines);
    try {
      const { bytesWritten } = await segment.handle!.write(frame);
      if (bytesWritten < frame.length) throw new Error('The disk is full.');
    } catch (error) {
      // Nobody shall take its torn end for records that were kept.
      await segment.handle!.truncate(segment.bytes).catch((failure: unknown) => this.tell(failure));
      await this.seal(segment);
      throw error;
    }
    const first = segment.records!;
    segment.bytes += frame.length;
    segment.records = first + lines.length;
    if (await exists(segment.path)) return first;
    await this.forget(segment);
    return undefined;
  }

  private stall(): void {
    this.isStalled = true;
    const { patienceMs } = this.options;
    this.warn({ patienceMs }, 'the disk of the spool takes too long; records are not kept');
    this.settleNothingKept();
  }

  private settleNothingKept(): void {
    this.gathering = undefined;
    for (const group of [...this.unsettled]) group.settle(undefined);
  }

  private refuse(): void {
    this.refusesUntil = performance.now() + this.refusals.next();
  }

  // Reading

  private async readSealed(segment: Segment): Promise<SpooledRecord[]> {
    if (segment === this.current) await this.seal(segment);
    try {
      const { lines, ...damage } = decodeFrames(await readFile(segment.path));
      if (segment.records !== lines.length) {
        this.tellDamage(segment, damage);
        // Of a file that was damaged meanwhile the indexes are others.
        segment.acknowledged.clear();
        segment.records = lines.length;
        this.deleteIfDone(segment);
      }
      return lines
        .map((line, index) => ({ line, place: { segment, index } }))
        .filter(({ place }) => !segment.acknowledged.has(place.index));
    } catch (error) {
      if (isMissing(error)) await this.forget(segment);
      else this.warn({ err: error, file: segment.path }, 'a file of the spool cannot be read');
      return [];
    }
  }

  private tellDamage(segment: Segment, damage: Omit<ReadFrames, 'lines'>): void {
    const faults = damage.damagedGroups + (damage.tornBytes > 0 ? 1 : 0);
    if (faults === 0) return;
    this.logger.error(
      { file: segment.path, ...damage },
      'a file of the spool is damaged; the records of these groups are lost',
    );
    for (let fault = 0; fault < faults; fault += 1) this.options.onFault('damaged_group');
  }

  /** All are held until they are given out, so that the file stays as it is. */
  private *inParts(segment: Segment, records: readonly SpooledRecord[]) {
    let given = 0;
    segment.held += records.length;
    try {
      while (given < records.length) {
        const some = records.slice(given, given + recordsAtATime);
        given += some.length;
        yield some;
      }
    } finally {
      segment.held -= records.length - given;
    }
  }

  // Files

  private async prepare(): Promise<void> {
    // Records may be about persons.
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    this.current = await this.createSegment();
    this.isPrepared = true;
  }

  private nextPath(): string {
    this.fileCount += 1;
    return path.join(this.directory, `${this.owner}-${this.fileCount}.spool`);
  }

  private async createSegment(isAdopted = false): Promise<Segment> {
    const file = this.nextPath();
    const handle = await open(file, 'ax', 0o600);
    const segment = segmentOf(file, { isAdopted, handle, records: 0 });
    this.segments.add(segment);
    return segment;
  }

  private async seal(segment: Segment): Promise<void> {
    const { handle } = segment;
    if (segment === this.current) this.current = undefined;
    segment.handle = undefined;
    await handle?.close().catch((error: unknown) => this.tell(error));
    this.deleteIfDone(segment);
  }

  private deleteIfDone(segment: Segment): void {
    if (segment.handle === undefined && isDone(segment)) {
      void this.onDisk(() => this.deleteSegment(segment));
    }
  }

  /** A file that cannot be deleted stays among the others, and is tried again. */
  private async deleteSegment(segment: Segment): Promise<void> {
    if (!this.segments.has(segment)) return;
    try {
      await unlink(segment.path);
    } catch (error) {
      if (!isMissing(error)) return this.tell(error);
    }
    this.segments.delete(segment);
  }

  private async forget(segment: Segment): Promise<void> {
    this.segments.delete(segment);
    await this.seal(segment);
    this.options.onFault('missing_file');
    this.warn(
      { file: segment.path },
      'a file of the spool is gone: another process has adopted it, or somebody has deleted it',
    );
  }

  private async close(): Promise<void> {
    await this.maintaining;
    await this.onDisk(async () => this.current && this.seal(this.current));
    for (const segment of [...this.segments]) {
      await this.onDisk(async () => {
        if (isDone(segment)) await this.deleteSegment(segment);
        else await utimes(segment.path, 0, 0);
      }).catch((error: unknown) => this.tell(error));
    }
  }

  // Looking after the files

  private async maintain(): Promise<void> {
    const { signal } = this.stopping;
    for (;;) {
      await pause(this.options.leaseMs / looksInLease, signal);
      if (signal.aborted) return;
      try {
        for (const segment of [...this.segments]) await this.onDisk(() => this.lookAfter(segment));
        for (const isAdopted of [false, true]) await this.onDisk(() => this.merge(isAdopted));
        await this.adoptAbandoned();
      } catch (error) {
        this.warn({ err: error }, 'the spool cannot be looked after; retrying');
      }
    }
  }

  private async lookAfter(segment: Segment): Promise<void> {
    try {
      if (segment === this.current && segment.records! > 0 && isDone(segment)) {
        await this.seal(segment);
      }
      if (segment.handle === undefined && isDone(segment)) await this.deleteSegment(segment);
      else if (this.segments.has(segment)) await touch(segment.path);
    } catch (error) {
      if (isMissing(error)) await this.forget(segment);
      else this.tell(error);
    }
  }

  /**
   * Brings what is left in files with little in them together in one, so that one acknowledgement that
   * does not come keeps no file full of others.
   */
  private async merge(isAdopted: boolean): Promise<void> {
    let bytes = 0;
    const sources = [...this.segments].filter((segment) => {
      if (segment.isAdopted !== isAdopted || !this.hasLittle(segment)) return false;
      return (bytes += bytesLeft(segment)) <= this.options.segmentBytes;
    });
    if (sources.length < 2) return;
    const records: SpooledRecord[] = [];
    for (const source of sources) records.push(...(await this.readSealed(source)));
    if (records.length === 0) return;
    const merged = await this.createSegment(isAdopted);
    const lines = records.map(({ line }) => line);
    if ((await this.writeFrame(merged, lines)) === undefined) return;
    // Where somebody has taken up a record meanwhile, or another process a file, they stay as they are.
    const isUnchanged = sources.every(({ held }) => held === 0);
    const settled = isUnchanged ? records.map(({ place }) => place) : lines.map(asPlaceIn(merged));
    for (const { segment, index } of settled) segment.acknowledged.add(index);
    for (const segment of [merged, ...sources]) await this.seal(segment);
  }

  private hasLittle(segment: Segment): boolean {
    if (segment.handle !== undefined || segment.held > 0 || isDone(segment)) return false;
    return bytesLeft(segment) <= this.options.segmentBytes / 2;
  }

  private async adoptAbandoned(): Promise<void> {
    const seen = new Map<string, Sighting>();
    for (const name of await this.onDisk(() => readdir(this.directory))) {
      const owner = fileName.exec(name)?.[1];
      if (owner === undefined || owner === this.owner) continue;
      try {
        const sighting = await this.onDisk(() => this.adoptIfAbandoned(name));
        if (sighting !== undefined) seen.set(name, sighting);
      } catch (error) {
        if (!isMissing(error)) this.tell(error);
      }
    }
    this.sightings = seen;
  }

  /** @returns how it looks, where it may have an owner */
  private async adoptIfAbandoned(name: string): Promise<Sighting | undefined> {
    const former = path.join(this.directory, name);
    const { mtimeMs, size } = await stat(former);
    const before = this.sightings.get(name);
    const unchanged = before?.mtimeMs === mtimeMs ? before.unchanged + 1 : 0;
    // An owner that stops says so by a time of 0.
    if (mtimeMs > 0 && unchanged < looksInLease) return { mtimeMs, unchanged };
    // Before it has its new name, so that nobody takes that for abandoned.
    await touch(former);
    const segment = segmentOf(this.nextPath(), {
      isAdopted: true,
      handle: undefined,
      records: undefined,
    });
    await rename(former, segment.path);
    segment.bytes = size;
    this.segments.add(segment);
    this.logger.info({ file: segment.path, bytes: size }, 'adopted an abandoned file of the spool');
    return undefined;
  }

  // Logging

  private tell(error: unknown): void {
    this.warn({ err: error }, 'a file of the spool cannot be changed');
  }

  /** Logs each message at most once a second. */
  private warn(details: object, message: string): void {
    const now = performance.now();
    if (now < (this.loggedAt.get(message) ?? -Infinity) + logIntervalMs) return;
    this.loggedAt.set(message, now);
    this.logger.warn({ ...details, directory: this.directory }, message);
  }
}

function segmentOf(
  file: string,
  state: Pick<Segment, 'isAdopted' | 'handle' | 'records'>,
): Segment {
  return { path: file, ...state, bytes: 0, acknowledged: new Set(), held: 0 };
}

function isDone({ records, acknowledged }: Segment): boolean {
  return records === acknowledged.size;
}

/** About. */
function bytesLeft({ bytes, records, acknowledged }: Segment): number {
  return records === undefined ? bytes : bytes * (1 - acknowledged.size / records);
}

function asPlaceIn(segment: Segment): (line: string, index: number) => SpoolPlace {
  return (_, index) => ({ segment, index });
}

function sumOf<Item>(items: Iterable<Item>, sizeOf: (item: Item) => number): number {
  let sum = 0;
  for (const item of items) sum += sizeOf(item);
  return sum;
}

async function touch(file: string): Promise<void> {
  const now = new Date();
  await utimes(file, now, now);
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT';
}
