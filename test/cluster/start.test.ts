/**
 * `npm start` itself, on ports and in a folder of its own: what it prints, and what it keeps
 * running.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCluster, findFreePorts, type Cluster } from '../../cluster/local-cluster';
import { portVariables, type PortName } from '../../cluster/ports';
import { processNames, type ProcessName } from '../../cluster/processes';
import { until } from '../../testkit/until';

jest.setTimeout(180_000);
const patience = { timeoutMs: 120_000 };
let cluster: Cluster;
let environment: NodeJS.ProcessEnv;
const starts: Start[] = [];

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'start-test-'));
  cluster = createCluster({ directory, ports: await findFreePorts() });
  const ports = Object.entries(portVariables) as [PortName, string][];
  environment = {
    ...process.env,
    CLUSTER_DIRECTORY: directory,
    API_PORT: String((await findFreePorts()).payments),
    METRICS_PORT: '0',
    ...Object.fromEntries(ports.map(([name, variable]) => [variable, String(cluster.ports[name])])),
  };
});

afterAll(async () => {
  // Its children end with it, frozen or not.
  for (const pid of [...Object.values(processIds()), supervisorId()]) kill(pid, 'SIGKILL');
  await Promise.all(starts.map(({ exited }) => exited));
  await cluster.reset();
  await rm(cluster.directory, { recursive: true, force: true });
});

describe('npm start', () => {
  let start: Start;

  it('tells the story and where to go next, and stays', async () => {
    start = npmStart();

    await until('the story is told', () => start.output().includes('Ctrl-C stops'), patience);

    const output = start.output();
    expect(output).toMatch(/POST \/v1\/products .*\n +201 .*"productId"/);
    expect(output).toMatch(/x-cache: miss .*"soldOut":false[^]*x-cache: hit .*"soldOut":false/);
    expect(output).toMatch(/catalog-events +\d +\d+ +[-0-9a-f]{36} +StockAdjusted/);
    expect(output).toContain(`${cluster.temporalUiUrl}/namespaces/default/workflows/product-`);
    expect(output).toMatch(/x-cache: miss .*"soldOut":true/);
    expect(output).toMatch(/before +5 +5 +3 +0 +2\n +after +5 +5 +3 +0 +2\n/);
    expect(output).toMatch(/402 .*"PAYMENT_FAILED"[^]*compensated/);
    expect(output).toMatch(/kafka +stopped\n[^]*"CONFIRMED"[^]*events wait in the outbox/);
    expect(output).toMatch(/kafka +answers on [^]*each once, and are handled/);
    expect(output).toMatch(/holds +log-equals-outbox[^]*nothing counted twice/);
    expect(output).toContain(`http://127.0.0.1:${environment['API_PORT']}`);
    for (const [, url] of output.matchAll(/(http:\/\/127\.0\.0\.1:\d+\/metrics)/g)) {
      expect(await (await fetch(url!)).text()).toContain('process_cpu_seconds_total');
    }
    expect(
      output.match(/\/metrics {2}(api|worker:commerce|worker:collector|bridge)\n/g),
    ).toHaveLength(4);
    expect(start.hasEnded()).toBe(false);
  });

  it('starts a process again that was killed, and says so', async () => {
    const killed = processIds().bridge;
    kill(killed, 'SIGKILL');

    const line =
      /bridge +was ended by SIGKILL; starting it again[^]*bridge +works again \(process (\d+)\)/;
    const [, told] = await until(
      'the bridge works again',
      () => line.exec(start.output()),
      patience,
    );

    expect(Number(told)).toBe(processIds().bridge);
    expect(Number(told)).not.toBe(killed);
    expect(isAlive(processIds().bridge)).toBe(true);
  });

  it('starts a server again that was killed, but not one that was stopped', async () => {
    await cluster.stop('redis');
    const killed = await serverId('payments');
    kill(killed, 'SIGKILL');

    await until(
      'the payment simulator runs again',
      async () => {
        const present = await serverId('payments');
        return present !== undefined && present !== killed;
      },
      patience,
    );

    // One that would be started again would be by now: every look is at all of the servers.
    expect(await serverId('redis')).toBeUndefined();
    await cluster.start('redis');
  });

  it('refuses to run twice at once', async () => {
    const second = npmStart();

    expect(await second.exited).toBe(1);
    expect(second.output()).toContain(
      `already running in ${cluster.directory} (process ${supervisorId()})`,
    );
  });

  it('stops everything on Ctrl-C and ends with 0', async () => {
    const ids = Object.values(processIds());
    expect(ids.filter(isAlive)).toHaveLength(processNames.length);

    start.pressCtrlC();

    expect(await start.exited).toBe(0);
    expect(ids.filter(isAlive)).toEqual([]);
    expect(await runningServers()).toEqual([]);
    expect(existsSync(join(cluster.directory, 'processes.json'))).toBe(false);
  });

  it('names a port of the API that is taken, before it starts anything', async () => {
    const occupant = (await import('node:net')).createServer();
    occupant.listen(Number(environment['API_PORT']), '127.0.0.1');
    await once(occupant, 'listening');

    const refused = npmStart('--exit');

    expect(await refused.exited).toBe(1);
    expect(refused.output()).toMatch(/Port \d+, which the API needs, .* set API_PORT/);
    expect(refused.output()).not.toContain('starting');
    await new Promise((resolve) => occupant.close(resolve));
  });
});

describe('npm start, killed itself', () => {
  it('takes its processes with it', async () => {
    const start = npmStart();
    await until('all work', () => start.output().includes('A short shopping story'), patience);
    const { bridge, ...others } = processIds();
    kill(bridge, 'SIGSTOP');

    kill(supervisorId(), 'SIGKILL');

    await until('they have ended', () => !Object.values(others).some(isAlive), patience);
    // A frozen one cannot notice.
    expect(isAlive(bridge)).toBe(true);
  });

  it('is cleaned up after by the next one, and --exit ends with 0 after the story', async () => {
    const { bridge } = processIds();

    const start = npmStart('--exit');

    expect(await start.exited).toBe(0);
    expect(start.output()).toMatch(/bridge +left over/);
    expect(start.output()).toContain('nothing has changed');
    expect(isAlive(bridge)).toBe(false);
    expect(await runningServers()).toEqual([]);
  });
});

interface Start {
  output(): string;
  hasEnded(): boolean;
  /** As a terminal does: to npm and all that runs in its group. */
  pressCtrlC(): void;
  readonly exited: Promise<number | null>;
}

function npmStart(...options: string[]): Start {
  const npm = spawn('npm', ['start', ...(options.length > 0 ? ['--', ...options] : [])], {
    cwd: join(__dirname, '..', '..'),
    env: environment,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [npm.stdout, npm.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  }
  const start = {
    output: () => output,
    hasEnded: () => npm.exitCode !== null || npm.signalCode !== null,
    pressCtrlC: () => kill(-Number(npm.pid), 'SIGINT'),
    exited: exitOf(npm),
  };
  starts.push(start);
  return start;
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  const [code] = (await once(child, 'close')) as [number | null];
  return code;
}

function processIds(): Partial<Record<ProcessName, number>> {
  return readJson<Partial<Record<ProcessName, number>>>('processes.json') ?? {};
}

function supervisorId(): number | undefined {
  return readJson<{ pid: number }>('supervisor.json')?.pid;
}

function readJson<Content>(name: string): Content | undefined {
  const file = join(cluster.directory, name);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Content) : undefined;
}

async function serverId(name: string): Promise<number | undefined> {
  return (await cluster.status()).find((server) => server.name === name)?.pid;
}

async function runningServers(): Promise<string[]> {
  const servers = await cluster.status();
  return servers.filter(({ state }) => state !== 'stopped').map(({ name }) => name);
}

function kill(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined || (pid > 0 && !isAlive(pid))) return;
  process.kill(pid, signal);
}

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
