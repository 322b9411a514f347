/** Threat: a publicly reachable server runs with the keys of the documentation. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';

async function startApi(environment: Record<string, string>) {
  const api = spawn(process.execPath, ['--require', './typescript.cjs', 'api/main.ts'], {
    cwd: path.join(__dirname, '..', '..'),
    env: { PATH: process.env['PATH'], ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    const [stdout, stderr, [exitCode]] = await Promise.all([
      text(api.stdout),
      text(api.stderr),
      once(api, 'exit') as Promise<[number | null]>,
    ]);
    return { output: stdout + stderr, exitCode };
  } finally {
    api.kill('SIGKILL');
  }
}

test('the API ends at once when it is to listen beyond loopback with them, and says why', async () => {
  const { output, exitCode } = await startApi({ API_HOST: '0.0.0.0', API_PORT: '0' });
  expect(exitCode).toBe(1);
  expect(output).toContain('API_KEYS');
  expect(output).not.toContain('dev-operator-key');
  expect(output).not.toContain('listening');
});
