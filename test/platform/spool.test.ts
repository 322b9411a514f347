/**
 * A spool keeps what it has said to keep, in a real directory. A process that is killed leaves its files
 * as they are at that moment: a copy of them, too old to belong to anybody, is what the next one finds.
 */
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  type FileHandle,
} from 'node:fs/promises';
import fileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { pino } from 'pino';
import { encodeFrame } from '../../platform/disk/frames';
import {
  openSpool,
  SpoolUnusableError,
  type Spool,
  type SpoolFault,
  type SpoolOptions,
  type SpoolPlace,
} from '../../platform/disk/spool';
import { pause } from '../../platform/process/waiting';
import { until } from '../../testkit/until';

let root: string;
let directory: string;
const opened = new Set<Spool>();
const logged: string[] = [];
const faults: SpoolFault[] = [];
const logger = pino({ level: 'info' }, { write: (text: string) => void logged.push(text) });

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'spool-'));
  directory = path.join(root, 'spool');
  logged.length = 0;
  faults.length = 0;
});

afterEach(async () => {
  jest.restoreAllMocks();
  for (const spool of opened) await spool.stop();
  opened.clear();
  await rm(root, { recursive: true });
});

async function start(options: Partial<SpoolOptions> = {}, where = directory): Promise<Spool> {
  const spool = await openSpool(where, logger, {
    maxBytes: 1024 * 1024,
    onFault: (fault) => faults.push(fault),
    ...options,
  });
  opened.add(spool);
  return spool;
}

async function keep(spool: Spool, lines: readonly string[]): Promise<SpoolPlace[]> {
  const places = await Promise.all(lines.map((line) => spool.append(line)));
  return places.map((place) => place!);
}

/** What the spool returns, which the caller then leaves again. */
async function linesLeft(spool: Spool): Promise<string[]> {
  const lines: string[] = [];
  for await (const records of spool.left()) {
    lines.push(...records.map(({ line }) => line));
    for (const { place } of records) spool.leave(place);
  }
  return lines;
}

/** The directory as a process finds it that starts long after this moment. */
async function afterDeath(): Promise<string> {
  const copy = await mkdtemp(path.join(root, 'after-'));
  await cp(directory, copy, { recursive: true });
  for (const name of await readdir(copy)) await utimes(path.join(copy, name), 0, 0);
  return copy;
}

type Write = (bytes: Buffer) => Promise<{ bytesWritten: number }>;

/** Takes the place of the next write to a file, which it may carry out. */
async function onNextWrite(
  instead: (write: Write, bytes: Buffer) => ReturnType<Write>,
): Promise<void> {
  const file = await open(path.join(root, 'any'), 'a');
  const prototype = Object.getPrototypeOf(file) as { write: Write };
  await file.close();
  const { write } = prototype;
  jest.spyOn(prototype, 'write').mockImplementationOnce(function (this: FileHandle, bytes) {
    return instead((given) => write.call(this, given), bytes);
  });
}

/** A promise that hangs until it is woken. */
function hang(): { readonly hanging: Promise<void>; readonly wake: () => void } {
  let wake = (): void => undefined;
  const hanging = new Promise<void>((resolve) => (wake = resolve));
  return { hanging, wake };
}

/** Another process takes the files for abandoned, reads them, and acknowledges everything. */
async function emptiedByAnother(): Promise<string[]> {
  for (const name of await readdir(directory)) await utimes(path.join(directory, name), 0, 0);
  const other = await start();
  const lines: string[] = [];
  for await (const records of other.left()) {
    lines.push(...records.map(({ line }) => line));
    for (const { place } of records) other.acknowledge(place);
  }
  await other.stop();
  return lines;
}

const numbered = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `record ${n}`);

describe('after a process was killed', () => {
  test('the next one finds every record that was kept and not acknowledged, in any course of events', async () => {
    const course = fc.array(
      fc.record({
        appended: fc.integer({ min: 1, max: 8 }),
        acknowledged: fc.array(fc.nat(), { maxLength: 8 }),
      }),
      { maxLength: 8 },
    );
    await fc.assert(
      fc.asyncProperty(course, fc.integer({ min: 1, max: 400 }), async (steps, segmentBytes) => {
        await rm(directory, { recursive: true, force: true });
        const spool = await start({ segmentBytes });
        const left = new Map<string, SpoolPlace>();
        const acknowledged = new Set<string>();
        let count = 0;
        for (const step of steps) {
          const lines = numbered(step.appended).map((line) => `${line} of ${(count += 1)}`);
          (await keep(spool, lines)).forEach((place, index) => left.set(lines[index]!, place));
          for (const choice of step.acknowledged) {
            const line = [...left.keys()][choice % left.size];
            if (line === undefined) break;
            spool.acknowledge(left.get(line)!);
            left.delete(line);
            acknowledged.add(line);
          }
        }
        const next = await start({}, await afterDeath());
        const found = await linesLeft(next);
        await spool.stop();
        await next.stop();
        expect(found).toHaveLength(new Set(found).size);
        expect(found).toEqual(expect.arrayContaining([...left.keys()]));
        // Acknowledged ones come again with a file that has others.
        expect(found.filter((line) => !left.has(line) && !acknowledged.has(line))).toEqual([]);
      }),
      { numRuns: 40 },
    );
  });

  test('a damaged end is told once, and what is before it is read', async () => {
    await keep(await start(), ['one', 'two']);
    const copy = await afterDeath();
    const file = path.join(copy, (await readdir(copy))[0]!);
    await appendFile(file, encodeFrame(['three']).subarray(0, 10));
    await utimes(file, 0, 0);
    const next = await start({}, copy);
    expect(await linesLeft(next)).toEqual(['one', 'two']);
    expect(await linesLeft(next)).toEqual(['one', 'two']);
    expect(logged.join('').match(/"tornBytes":10/g)).toHaveLength(1);
    expect(faults).toEqual(['damaged_group']);
  });

  test('a damaged group is told, and what is before and behind it is read', async () => {
    const spool = await start();
    for (const line of ['one', 'two', 'three']) await keep(spool, [line]);
    const copy = await afterDeath();
    const file = path.join(copy, (await readdir(copy))[0]!);
    const bytes = await readFile(file);
    bytes.write('x', bytes.indexOf('two'));
    await fileSystem.writeFile(file, bytes);
    await utimes(file, 0, 0);
    expect(await linesLeft(await start({}, copy))).toEqual(['one', 'three']);
    expect(faults).toEqual(['damaged_group']);
  });

  test('the files that it has left do not count against the bound of the next one', async () => {
    await keep(await start(), ['x'.repeat(80)]);
    const next = await start({ maxBytes: 100 }, await afterDeath());
    expect(next.bytes).toBeGreaterThan(80);
    expect(await next.append('y'.repeat(80))).toBeDefined();
    expect(await next.append('z'.repeat(80))).toBeUndefined();
  });

  test('files in which nothing is left are deleted', async () => {
    await start();
    const copy = await afterDeath();
    const next = await start({}, copy);
    expect(await linesLeft(next)).toEqual([]);
    await until('only its own file is there', async () => (await readdir(copy)).length === 1);
  });
});

describe('after a stop', () => {
  test('what is left may be adopted at once', async () => {
    const spool = await start();
    await keep(spool, ['one']);
    await spool.stop();
    expect(await linesLeft(await start())).toEqual(['one']);
  });

  test('nothing remains of what was acknowledged', async () => {
    const spool = await start();
    for (const place of await keep(spool, numbered(5))) spool.acknowledge(place);
    await spool.stop();
    expect(await readdir(directory)).toEqual([]);
  });
});

test('a stop with a disk that hangs ends all the same', async () => {
  const spool = await start({ patienceMs: 20, diskTimeoutMs: 100 });
  const { hanging, wake } = hang();
  await onNextWrite(async (write, bytes) => {
    await hanging;
    return write(bytes);
  });
  await spool.append('slow');
  const left: string[] = [];
  for await (const records of spool.left()) left.push(...records.map(({ line }) => line));
  expect(left).toEqual([]);
  const hasStopped = await Promise.race([spool.stop().then(() => true), pause(2_000)]);
  expect(hasStopped).toBe(true);
  wake();
});

describe('in one process', () => {
  test('all records of a moment are one write', async () => {
    const spool = await start();
    await keep(spool, numbered(100));
    const [name] = await readdir(directory);
    expect(await readFile(path.join(directory, name!))).toEqual(encodeFrame(numbered(100)));
  });

  test('a record that comes while a write ends is written, too', async () => {
    const spool = await start();
    for (const line of numbered(50)) expect(await spool.append(line)).toBeDefined();
  });

  test('a record that somebody holds is not returned, and one that is left is', async () => {
    const spool = await start();
    const [one, two] = await keep(spool, ['one', 'two']);
    expect(await linesLeft(spool)).toEqual([]);
    spool.acknowledge(one!);
    spool.leave(two!);
    expect(await linesLeft(spool)).toEqual(['two']);
  });

  test('at a stop those that are held are returned, too', async () => {
    const spool = await start();
    await keep(spool, ['one']);
    for await (const records of spool.left({ evenHeld: true })) {
      expect(records.map(({ line }) => line)).toEqual(['one']);
    }
    expect.assertions(1);
  });

  test('files whose records are all acknowledged are deleted, the current one included', async () => {
    const spool = await start({ segmentBytes: 1, leaseMs: 400 });
    const places = (await Promise.all(numbered(5).map(async (line) => keep(spool, [line])))).flat();
    await keep(spool, ['last']).then(([last]) => places.push(last!));
    expect(spool.bytes).toBeGreaterThan(0);
    for (const place of places) spool.acknowledge(place);
    await until('nothing is kept', () => spool.bytes === 0);
    await until('no file is there', async () => (await readdir(directory)).length === 0);
  });

  test('beyond its bytes it keeps nothing, until there is room', async () => {
    const spool = await start({ maxBytes: 100, segmentBytes: 1, leaseMs: 400 });
    const [place] = await keep(spool, ['x'.repeat(80)]);
    expect(await spool.append('y'.repeat(80))).toBeUndefined();
    expect(logged.join('')).toContain('the spool is full');
    spool.acknowledge(place!);
    await until('there is room', () => spool.append('z'));
  });

  test('a disk that refuses is told, and tried again after a while', async () => {
    const spool = await start({ refusalMs: 100, segmentBytes: 1 });
    await keep(spool, ['one']);
    await rm(directory, { recursive: true });
    expect(await spool.append('two')).toBeUndefined();
    expect(await spool.append('three')).toBeUndefined();
    expect(logged.join('')).toContain('cannot be written');
    await mkdir(directory);
    await until('it is tried again', () => spool.append('four'));
  });

  test('a write that was torn spoils nothing that follows, and is not told as a loss', async () => {
    const spool = await start({ refusalMs: 100 });
    await keep(spool, ['one']);
    await onNextWrite((write, bytes) => write(bytes.subarray(0, 9)));
    expect(await spool.append('two')).toBeUndefined();
    await until('it is tried again', () => spool.append('three'));
    const next = await start({}, await afterDeath());
    expect((await linesLeft(next)).toSorted()).toEqual(['one', 'three']);
    expect(faults).toEqual([]);
  });

  test('nobody waits for a disk that hangs longer than its patience', async () => {
    const spool = await start({ patienceMs: 50, refusalMs: 100 });
    const { hanging, wake } = hang();
    await onNextWrite(async (write, bytes) => {
      await hanging;
      return write(bytes);
    });
    expect(await spool.append('slow')).toBeUndefined();
    expect(await spool.append('behind it')).toBeUndefined();
    wake();
    const later = await until('it keeps records again', () => spool.append('later'));
    spool.leave(later);
    // It reached the disk after all.
    expect(await linesLeft(spool)).toEqual(expect.arrayContaining(['slow', 'later']));
  });

  test('the patience counts from the moment of the record, and is asked for once until a pause is over', async () => {
    const spool = await start({ patienceMs: 200, refusalMs: 60_000 });
    const { hanging, wake } = hang();
    await onNextWrite(async (write, bytes) => {
      await hanging;
      return write(bytes);
    });
    const from = performance.now();
    const waited = async (line: string): Promise<number> => {
      expect(await spool.append(line)).toBeUndefined();
      return performance.now() - from;
    };
    const slow = waited('slow');
    await pause(100);
    // It waits behind the first write, and no longer than that.
    expect(await waited('behind it')).toBeLessThan(350);
    expect(await slow).toBeLessThan(350);
    wake();
    await spool.left().next();
    const again = performance.now();
    for (const line of numbered(20)) expect(await spool.append(line)).toBeUndefined();
    expect(performance.now() - again).toBeLessThan(100);
  });

  test('a record that stays open keeps no files full of others', async () => {
    const spool = await start({ maxBytes: 4_000, segmentBytes: 400, leaseMs: 200 });
    const open: string[] = [];
    for (const line of numbered(200)) {
      const place = await until('there is room', () => spool.append(line.padEnd(40)));
      if (line.endsWith('0')) {
        spool.leave(place);
        open.push(line);
      } else spool.acknowledge(place);
    }
    await until('few files are left', async () => (await readdir(directory)).length <= 6);
    const left = (await linesLeft(spool)).map((line) => line.trimEnd());
    expect(left).toEqual(expect.arrayContaining(open));
    expect(spool.bytes).toBeLessThan(2_500);
    expect(faults).toEqual([]);
  });

  test('a file that cannot be touched or deleted keeps no other from being looked after', async () => {
    const spool = await start({ segmentBytes: 1, leaseMs: 200 });
    const [done] = await keep(spool, ['done']);
    const [open] = await keep(spool, ['open']);
    spool.leave(open!);
    const failure = Object.assign(new Error('input/output error'), { code: 'EIO' });
    jest.spyOn(fileSystem, 'unlink').mockRejectedValueOnce(failure);
    jest.spyOn(fileSystem, 'utimes').mockRejectedValueOnce(failure);
    spool.acknowledge(done!);
    await until('it is told', () => logged.join('').includes('cannot be changed'));
    await until('the file is deleted', async () => (await readdir(directory)).length === 1);
    expect(await linesLeft(spool)).toEqual(['open']);
  });
});

describe('several processes in one directory', () => {
  test('leave alone what another one is at work on', async () => {
    const [one, other] = [await start({ leaseMs: 400 }), await start({ leaseMs: 400 })];
    const [place] = await keep(one, ['one']);
    one.leave(place!);
    const seenByOther: string[] = [];
    let looks = 0;
    await until('several leases have passed', async () => {
      seenByOther.push(...(await linesLeft(other)));
      looks += 1;
      return looks > 20;
    });
    expect(seenByOther).toEqual([]);
    expect(await linesLeft(one)).toEqual(['one']);
  });

  test('share what one that has died leaves behind, and each record once', async () => {
    const lines = numbered(40);
    const spool = await start({ segmentBytes: 1 });
    for (const line of lines) await keep(spool, [line]);
    const copy = await afterDeath();
    const nexts = await Promise.all([start({}, copy), start({}, copy), start({}, copy)]);
    const found = await Promise.all(nexts.map(linesLeft));
    expect(found.flat().toSorted()).toEqual(lines.toSorted());
  });

  test('one that was taken for dead goes on in a new file, and loses nothing', async () => {
    const one = await start();
    await keep(one, ['before']);
    expect(await emptiedByAnother()).toEqual(['before']);
    for (const place of await keep(one, ['after'])) one.leave(place);
    expect(await linesLeft(one)).toEqual(['after']);
    expect(await linesLeft(await start({}, await afterDeath()))).toEqual(['after']);
    expect(faults).toContain('missing_file');
    expect(logged.join('')).toContain('a file of the spool is gone');
  });

  test('one that is frozen in the middle of a write loses nothing', async () => {
    const one = await start({ patienceMs: 10_000 });
    await keep(one, ['before']);
    const { hanging, wake } = hang();
    await onNextWrite(async (write, bytes) => {
      await hanging;
      return write(bytes);
    });
    const appending = one.append('frozen');
    expect(await emptiedByAnother()).toEqual(['before']);
    wake();
    one.leave((await appending)!);
    expect(await linesLeft(one)).toEqual(['frozen']);
  });

  test('a clock that is set back takes nobody for dead', async () => {
    const one = await start();
    await keep(one, ['one']);
    const [name] = await readdir(directory);
    const ahead = new Date(Date.now() + 60_000);
    await utimes(path.join(directory, name!), ahead, ahead);
    const other = await start();
    expect(await linesLeft(other)).toEqual([]);
  });

  test('a file that its owner touches no more is adopted after a lease', async () => {
    await keep(await start(), ['one']);
    const [name] = await readdir(directory);
    const copy = await mkdtemp(path.join(root, 'after-'));
    await cp(path.join(directory, name!), path.join(copy, name!));
    const next = await start({ leaseMs: 200 }, copy);
    expect(await linesLeft(next)).toEqual([]);
    await until('it is adopted', async () => (await linesLeft(next)).includes('one'));
  });
});

test('nobody else may read what it keeps', async () => {
  await keep(await start(), ['one']);
  const [name] = await readdir(directory);
  const modes = await Promise.all(
    [directory, path.join(directory, name!)].map(async (each) => (await stat(each)).mode & 0o777),
  );
  expect(modes).toEqual([0o700, 0o600]);
});

test('a directory that cannot be used is told at once', async () => {
  await expect(start({}, '/dev/null/spool')).rejects.toThrow(SpoolUnusableError);
});

describe('a disk that is broken at the start', () => {
  test('is refused, and used as soon as it is whole', async () => {
    const broken = path.join(root, 'broken');
    await symlink('broken', broken);
    const spool = await start({ refusalMs: 50, leaseMs: 200 }, path.join(broken, 'spool'));
    expect(await spool.append('one')).toBeUndefined();
    expect(logged.join('')).toContain('the spool cannot be opened');
    await rm(broken);
    spool.leave(await until('it is used', () => spool.append('two')));
    expect(await linesLeft(spool)).toEqual(['two']);
  });

  test('delays the start no longer than a bound when it hangs', async () => {
    const { hanging, wake } = hang();
    const { mkdir: create } = jest.requireActual<typeof fileSystem>('node:fs/promises');
    jest.spyOn(fileSystem, 'mkdir').mockImplementationOnce(async () => {
      await hanging;
      return create(directory, { recursive: true });
    });
    const starting = start({ diskTimeoutMs: 100, patienceMs: 50, refusalMs: 50 });
    const spool = await Promise.race([starting, pause(2_000)]);
    expect(spool).toBeDefined();
    expect(await spool!.append('one')).toBeUndefined();
    wake();
    await until('it is used', () => spool!.append('two'));
  });
});
