import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Runs a program whose work is `source`. */
async function exitOf(source: string): Promise<{ exitCode: number; stderr: string }> {
  const module = path.join(__dirname, '../../platform/process/program.ts');
  const program = `require(${JSON.stringify(module)}).runProgram(async () => { ${source} });`;
  const result = run(process.execPath, ['--require', './typescript.cjs', '--eval', program]);
  return result.then(
    ({ stderr }) => ({ exitCode: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ exitCode: code, stderr }),
  );
}

test('a program whose work is done exits with the code that the work answers', async () => {
  expect(await exitOf('')).toEqual({ exitCode: 0, stderr: '' });
  expect(await exitOf('return 3')).toEqual({ exitCode: 3, stderr: '' });
});

test('a program whose work fails says why and exits with 1', async () => {
  const { exitCode, stderr } = await exitOf(
    "throw new Error('no disk', { cause: new Error('full') })",
  );
  expect(exitCode).toBe(1);
  expect(stderr).toContain('no disk');
  expect(stderr).toContain('full');
});

test('a program that waits for what never comes does not pass for one that is done', async () => {
  expect(await exitOf('await new Promise(() => {})')).toEqual({
    exitCode: 13,
    stderr: 'The program ended before its work was done: nothing was left to wait for.\n',
  });
});

test('a program whose reader is gone ends quietly, as one that SIGPIPE ends, where it is told to', async () => {
  const module = path.join(__dirname, '../../platform/process/program.ts');
  const program = `require(${JSON.stringify(module)}).runProgram(async () => {
    setInterval(() => process.stdout.write('a line\\n'), 1);
    await new Promise(() => {});
  }, { endsWithReader: true });`;
  const child = spawn(process.execPath, ['--require', './typescript.cjs', '--eval', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const closed = once(child, 'close', { signal: AbortSignal.timeout(15_000) });
  try {
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect(await closed).toEqual([141, null]);
    expect(stderr).toBe('');
  } finally {
    child.kill('SIGKILL');
  }
}, 20_000);
