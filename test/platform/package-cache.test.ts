import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = path.join(__dirname, '../..');

let folder: string;
let program: string;
let cacheFile: string;

/** What a program prints that loads a package of many modules, and one of ES modules. */
async function outputOf(): Promise<string> {
  const { stdout } = await run(process.execPath, [
    '--require',
    path.join(root, 'package-cache.cjs'),
    program,
  ]);
  return stdout;
}

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'package-cache-'));
  program = path.join(folder, 'program.cjs');
  const name = createHash('sha256').update(program).digest('hex').slice(0, 32);
  cacheFile = path.join(root, 'node_modules/.cache/packages', name);
  await writeFile(
    program,
    `const load = require('node:module').createRequire(${JSON.stringify(path.join(root, 'package.json'))});
     const { z } = load('zod');
     load('node-pg-migrate');
     const message = z.number().safeParse('one').error.message;
     console.log(message);`,
  );
});

afterEach(async () => {
  await rm(folder, { recursive: true });
  await rm(cacheFile, { force: true });
});

test('a program that reads its packages from the cache does what it did without', async () => {
  const first = await outputOf();
  const { mtimeMs, size } = await stat(cacheFile);
  expect(size).toBeGreaterThan(100_000);

  expect(await outputOf()).toBe(first);
  expect((await stat(cacheFile)).mtimeMs).toBe(mtimeMs);
});

test.each([
  ['a broken cache', async () => Buffer.from('broken')],
  ['a cache that was cut short', async () => (await readFile(cacheFile)).subarray(0, 50_000)],
  [
    'the cache of other packages',
    async () => {
      const bytes = await readFile(cacheFile);
      const at = bytes.indexOf('"version":"') + '"version":"'.length;
      bytes.write('x', at);
      return bytes;
    },
  ],
])('%s is made anew', async (_, spoil) => {
  const first = await outputOf();
  const whole = (await stat(cacheFile)).size;
  await writeFile(cacheFile, await spoil());

  expect(await outputOf()).toBe(first);
  expect((await stat(cacheFile)).size).toBeGreaterThanOrEqual(whole * 0.9);
});
