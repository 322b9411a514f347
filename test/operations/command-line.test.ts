import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { processIdentity } from '../../cluster/process-identity';
import { runCommandLine } from '../../operations/cli/command-line';
import {
  createMemoryStreams,
  type MemoryStreams,
  type Terminals,
} from '../../testkit/memory-streams';

let streams: MemoryStreams;
const run = (commandArguments: readonly string[]) => runCommandLine(commandArguments, streams);

beforeEach(() => {
  streams = createMemoryStreams();
});

describe('a usage error does nothing, says why, and exits with 2', () => {
  test.each<[what: string, commandArguments: string[], says: string]>([
    ['an unknown command', ['explode'], "unknown command 'explode'"],
    ['an unknown option', ['verify', '--fast'], "unknown option '--fast'"],
    ['no command', ['dead-letters'], 'Usage:'],
    ['an ID that is no number', ['dead-letters', 'show', 'x'], 'whole number'],
    ['an ID of 0', ['dead-letters', 'redrive', '0'], 'whole number'],
    ['a status that there is not', ['dead-letters', 'list', '--status', 'gone'], 'parked'],
    ['neither IDs nor --all', ['dead-letters', 'redrive'], '--all'],
    [
      'both IDs and --all',
      ['dead-letters', 'redrive', '7', '--all'],
      'cannot be combined with IDs',
    ],
    ['all of the settled ones', ['dead-letters', 'redrive', '--all', '--again'], '--again'],
    [
      'IDs and a reason',
      ['dead-letters', 'redrive', '7', '--reason', 'NOT_JSON'],
      'combined with IDs',
    ],
    [
      'a reason that there is not',
      ['dead-letters', 'list', '--reason', 'NOT_JASON'],
      'NOT_UTF8, NOT_JSON, UNSTORABLE_JSON',
    ],
    [
      'a reason to have been parked that there is not',
      ['dead-letters', 'discard', '--parked-for', 'test messages'],
      'Allowed choices are NULL_VALUE',
    ],
    [
      'IDs and a time',
      ['dead-letters', 'redrive', '7', '--since', '2026-01-31'],
      'combined with IDs',
    ],
    ['a time that is none', ['dead-letters', 'list', '--since', 'yesterday'], 'a time such as'],
    [
      'a day that there is not',
      ['dead-letters', 'groups', '--until', '2026-13-01'],
      'a time such as',
    ],
    ['settled ones by a filter', ['dead-letters', 'redrive', '--topic', 'x', '--again'], '--again'],
    [
      'a count that is none',
      ['dead-letters', 'redrive', '--all', '--expect', 'few'],
      'whole number',
    ],
    ['nothing to check', ['dead-letters', 'check'], 'missing required argument'],
    ['nothing to discard', ['dead-letters', 'discard'], '--all'],
    ['an ID and a filter', ['dead-letters', 'discard', '7', '--topic', 'x'], 'cannot be combined'],
    ['an ID and a count', ['dead-letters', 'discard', '7', '--expect', '1'], 'cannot be combined'],
    ['a discard for a blank reason', ['dead-letters', 'discard', '7', '--reason', ' '], 'why'],
    ['an order status that there is not', ['orders', 'list', '--status', 'gone'], 'PLACED'],
    ['an age that is none', ['orders', 'list', '--older-than', '10'], '10s, 5m, 2h or 1d'],
    ['a cancellation for a blank reason', ['orders', 'cancel', 'x', '--reason', ' '], 'why'],
    ['a hold without a reason', ['pause'], '--reason'],
    ['a hold for a blank reason', ['pause', '--reason', ' '], 'why'],
    ['a partition of no topic', ['pause', '--partition', '3', '--reason', 'x'], '--topic'],
    ['a topic that there is not', ['resume', '--topic', 'x', '--reason', 'x'], 'catalog-events'],
    ['a bound of nothing', ['throttle', '0', '--reason', 'x'], 'whole number'],
    [
      'a bound of a partition',
      ['throttle', '5', '--topic', 'order-events', '--partition', '3', '--reason', 'x'],
      '--partition',
    ],
    ['a negative grace', ['verify', '--grace', '-1'], 'whole number'],
  ])('%s', async (_what, commandArguments, says) => {
    expect(await run(commandArguments)).toBe(2);
    expect(streams.written.stderr).toContain(says);
    expect(streams.written.stdout).toBe('');
  });
});

describe('on a terminal, what cannot be undone', () => {
  const discard = ['dead-letters', 'discard', '7'];

  it.each([
    ['no', 'n\n'],
    ['nothing', '\n'],
    ['something else', 'what?\n'],
    ['the end of the input (Ctrl-D)', '\u0004'],
  ])('is asked about, and not done after %s', async (_what, answer) => {
    streams = createMemoryStreams({ stdin: true, stdout: true, stderr: true });
    const ending = run(discard);
    streams.type(answer);

    expect(await ending).toBe(1);
    expect(streams.written.stdout).toContain('Discard dead letter 7?');
    expect(streams.written.stderr).toContain('Nothing was done.');
  });

  it('is asked about too where an order is cancelled', async () => {
    streams = createMemoryStreams({ stdin: true, stdout: true });
    const ending = run(['orders', 'cancel', 'o1']);
    streams.type('n\n');

    expect(await ending).toBe(1);
    expect(streams.written.stdout).toContain('Cancel order o1?');
  });

  it('is asked about too where everything is rebuilt', async () => {
    streams = createMemoryStreams({ stdin: true, stdout: true });
    const ending = run(['rebuild-metrics']);
    streams.type('n\n');

    expect(await ending).toBe(1);
    expect(streams.written.stdout).toContain('[y/N]');
  });

  // Where it proceeds, no server is running.
  const away = { DATABASE_URL: 'postgres://x:x@127.0.0.1:1/x', TEMPORAL_ADDRESS: '127.0.0.1:1' };

  it.each<[what: string, terminals: Terminals, more: string[], answer: string]>([
    ['a yes', { stdin: true, stdout: true }, [], 'y\n'],
    ['--yes, without a question', { stdin: true, stdout: true }, ['--yes'], ''],
    ['no question where the input is no terminal', { stdout: true, stderr: true }, [], ''],
    ['no question where the output is no terminal', { stdin: true, stderr: true }, [], ''],
    ['no question to a program', {}, [], ''],
  ])('is done after %s', async (_what, terminals, more, answer) => {
    const before = process.env;
    process.env = { ...before, ...away };
    try {
      streams = createMemoryStreams(terminals);
      const ending = run(['rebuild-metrics', ...more]);
      streams.type(answer);

      expect(await ending).toBe(1);
      expect(streams.written.stderr).toContain('ECONNREFUSED');
      expect(streams.written.stdout.includes('[y/N]')).toBe(answer !== '');
    } finally {
      process.env = before;
    }
  });
});

test('status says what is wrong, and fails, while no server answers', async () => {
  const before = process.env;
  process.env = {
    ...before,
    DATABASE_URL: 'postgres://x:x@127.0.0.1:1/x',
    KAFKA_BROKERS: '127.0.0.1:1',
    REDIS_URL: 'redis://127.0.0.1:1',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
  };
  try {
    expect(await run(['status', '--json'])).toBe(1);
    const { verdict, problems, unmeasured, outbox } = JSON.parse(streams.written.stdout) as {
      verdict: string;
      problems: { code: string }[];
      unmeasured: { what: string; reason: string }[];
      outbox: unknown;
    };
    expect(verdict).toBe('unavailable');
    expect(problems.map(({ code }) => code)).toEqual([
      'POSTGRES_UNAVAILABLE',
      'TEMPORAL_UNAVAILABLE',
      'KAFKA_UNAVAILABLE',
      'REDIS_UNAVAILABLE',
    ]);
    expect(unmeasured.map(({ what }) => what)).toContain('consumer lag');
    expect(outbox).toBeNull();

    streams = createMemoryStreams();
    expect(await run(['status'])).toBe(1);
    expect(streams.written.stdout).toMatch(
      /^UNAVAILABLE\nPostgreSQL unavailable since \d\d:\d\d UTC/,
    );
    expect(streams.written.stdout).toContain('What to do: docs/runbook.md#requestsfailing');
    expect(streams.written.stdout).toMatch(/servers +postgres down, temporal down, kafka down/);
    expect(streams.written.stdout).toMatch(/outbox +unknown/);
  } finally {
    process.env = before;
  }
}, 40_000);

describe('without an address in the environment', () => {
  const before = process.env;
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'local-cluster-'));
    process.env = { ...before, CLUSTER_DIRECTORY: directory };
    for (const name of ['DATABASE_URL', 'KAFKA_BROKERS', 'TEMPORAL_ADDRESS', 'REDIS_URL']) {
      delete process.env[name];
    }
    await mkdir(path.join(directory, 'postgres'));
    const record = { pid: process.pid, ports: { postgres: 1 } };
    await writeFile(
      path.join(directory, 'postgres', 'process.json'),
      JSON.stringify({ ...record, identity: await processIdentity(process.pid) }),
    );
  });

  afterEach(async () => {
    process.env = before;
    await rm(directory, { recursive: true });
  });

  it('the local cluster that runs is used, and named', async () => {
    expect(await run(['dead-letters', 'list', '--json'])).toBe(1);
    expect(streams.written.stderr).toContain(`Local cluster: ${directory}`);
    expect(streams.written.stderr).toContain('127.0.0.1:1');
  });

  it('an address in the environment is used instead', async () => {
    process.env['DATABASE_URL'] = 'postgres://x:x@127.0.0.1:2/x';

    expect(await run(['dead-letters', 'list', '--json'])).toBe(1);
    expect(streams.written.stderr).not.toContain('Local cluster');
    expect(streams.written.stderr).toContain('127.0.0.1:2');
  });
});

describe('help', () => {
  test.each([
    [['--help']],
    [['status', '--help']],
    [['dead-letters', '--help']],
    [['dead-letters', 'groups', '--help']],
    [['dead-letters', 'list', '--help']],
    [['dead-letters', 'check', '--help']],
    [['dead-letters', 'show', '--help']],
    [['dead-letters', 'redrive', '--help']],
    [['dead-letters', 'discard', '--help']],
    [['events', '--help']],
    [['events', 'list', '--help']],
    [['events', 'show', '--help']],
    [['orders', '--help']],
    [['orders', 'list', '--help']],
    [['orders', 'show', '--help']],
    [['orders', 'cancel', '--help']],
    [['lag', '--help']],
    [['verify', '--help']],
    [['rebuild-metrics', '--help']],
    [['after-restore', '--help']],
    [['help', 'verify']],
  ])(
    'of %j is printed, ends with 0, tells of --json and the exit codes, and has an example',
    async (commandArguments) => {
      expect(await run(commandArguments)).toBe(0);
      const { stdout } = streams.written;
      expect(stdout).toContain('--json');
      for (const code of ['0  ', '1  ', '2  ']) expect(stdout).toContain(code);
      expect(stdout).toMatch(/Examples?:\n {2}npm run ops -- /);
    },
  );
});
