/** Servers that outlive their command: found by PID file, never mistaken for another process. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findDaemon, logTail, startDaemon, stopDaemon } from '../../cluster/daemon';
import type { Daemon, DaemonFiles } from '../../cluster/daemon';
import { findDistinctFreePorts, tryToBind } from '../../cluster/ports';
import { processIdentity } from '../../cluster/process-identity';
import { until } from '../../testkit/until';

let directory: string;
let files: DaemonFiles;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'daemon-test-'));
  files = { pidFile: join(directory, 'process.json'), logFile: join(directory, 'server.log') };
});

afterEach(async () => {
  await stopDaemon(files.pidFile, 'SIGKILL', 0);
  await rm(directory, { recursive: true, force: true });
});

describe('a daemon', () => {
  it('is found by its PID file while it lives', async () => {
    const { pid } = await startNode('setInterval(() => {}, 1000)');

    expect(await findDaemon(files.pidFile)).toMatchObject({ pid, ports: { some: 1 } });
  });

  it('ends on the signal asked for, and leaves no PID file', async () => {
    const { pid } = await startNode(
      `process.on('SIGINT', () => { console.log('ended properly'); process.exit(); });
       setInterval(() => {}, 1000); console.log('ready');`,
    );
    await untilLogged('ready');

    await expect(stopDaemon(files.pidFile, 'SIGINT', 5_000)).resolves.toBe(true);

    expect(await processIdentity(pid)).toBeUndefined();
    expect(await logTail(files.logFile)).toContain('ended properly');
    await expect(stat(files.pidFile)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is killed when it ignores the signal', async () => {
    const { pid } = await startNode(
      `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.log('ready');`,
    );
    await untilLogged('ready');

    await stopDaemon(files.pidFile, 'SIGTERM', 200);

    expect(await processIdentity(pid)).toBeUndefined();
  });

  it('counts as running until its port is free, also while its threads end one after the other', async () => {
    const [port] = (await findDistinctFreePorts(1)) as [number];
    // To give back so much memory takes its last thread some 50 ms, in which it still listens. That is
    // seldom the first thread, by whose state alone it would have ended.
    const { pid } = await startNode(
      `globalThis.kept = Buffer.alloc(2 ** 28, 1);
       require('node:net').createServer().listen(${port}, '127.0.0.1', () => console.log('ready'));`,
    );
    await untilLogged('ready');

    process.kill(pid, 'SIGKILL');
    const deadline = Date.now() + 5_000;
    // At once: a poll could miss the moment.
    while ((await findDaemon(files.pidFile)) !== undefined && Date.now() < deadline);

    await expect(tryToBind(port)).resolves.toBeUndefined();
  });

  it('is reported when its program is not there', async () => {
    const launch = { program: join(directory, 'nothing'), parameters: [] };

    await expect(startDaemon(launch, files, {})).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('a stale PID file', () => {
  let foreign: ChildProcess;

  afterEach(async () => {
    foreign.kill('SIGKILL');
    await once(foreign, 'exit');
  });

  it('never ends a process that was given the same ID later', async () => {
    await startNode('setInterval(() => {}, 1000)');
    const record = JSON.parse(await readFile(files.pidFile, 'utf8')) as Daemon & PidIdentity;
    await stopDaemon(files.pidFile, 'SIGKILL', 5_000);
    foreign = await startForeignLaterThan(record.identity);
    await writeFile(files.pidFile, JSON.stringify({ ...record, pid: foreign.pid }));

    expect(await findDaemon(files.pidFile)).toBeUndefined();
    await expect(stopDaemon(files.pidFile, 'SIGKILL', 100)).resolves.toBe(false);

    expect(await processIdentity(foreign.pid as number)).toBeDefined();
    expect(foreign.exitCode ?? foreign.signalCode).toBeNull();
  });
});

interface PidIdentity {
  readonly identity: string;
}

/** The system counts start times in ticks of about 10 ms, within which no ID comes round again. */
async function startForeignLaterThan(identity: string): Promise<ChildProcess> {
  for (;;) {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      stdio: 'ignore',
    });
    await once(child, 'spawn');
    if ((await processIdentity(child.pid as number)) !== identity) return child;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

function startNode(code: string): Promise<Daemon> {
  const launch = { program: process.execPath, parameters: ['-e', code] };
  return startDaemon(launch, files, { some: 1 });
}

async function untilLogged(text: string): Promise<void> {
  await until(`"${text}" is logged`, async () => (await logTail(files.logFile)).includes(text));
}
