import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

test('a process whose output nobody reads any more still stops when it is told to', async () => {
  const child = spawn(
    process.execPath,
    ['--require', './typescript.cjs', path.join(__dirname, 'quiet-process.ts')],
    { env: { ...process.env, LOG_LEVEL: 'info' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit', { signal: AbortSignal.timeout(15_000) });
  try {
    await once(child.stdout, 'data');
    child.stdout.destroy();
    await once(child.stdout, 'close');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  } finally {
    child.kill('SIGKILL');
  }
}, 20_000);

test('a process that is told to stop while it starts does not go on starting', async () => {
  const child = spawn(
    process.execPath,
    ['--require', './typescript.cjs', path.join(__dirname, 'slow-starter.ts')],
    { env: { ...process.env, LOG_LEVEL: 'info' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit', { signal: AbortSignal.timeout(15_000) });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  try {
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    expect(output).toContain('does not start the second part');
    expect(output).not.toContain('started too late');
  } finally {
    child.kill('SIGKILL');
  }
}, 20_000);

test('a process whose variable is misspelt says so when it starts', async () => {
  const child = spawn(
    process.execPath,
    ['--require', './typescript.cjs', path.join(__dirname, 'quiet-process.ts')],
    {
      env: { ...process.env, LOG_LEVEL: 'info', API_PORTT: '4000' },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    const [first] = (await once(child.stdout, 'data', {
      signal: AbortSignal.timeout(15_000),
    })) as [Buffer];
    expect(JSON.parse(first.toString().split('\n')[0]!)).toMatchObject({
      level: 40,
      msg: 'API_PORTT is not read by anything; did you mean API_PORT?',
    });
  } finally {
    child.kill('SIGKILL');
  }
}, 20_000);
