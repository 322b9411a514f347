/** The arrows between the rooms, and determinism in `workflows/`, are held by ESLint. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

interface Snippet {
  readonly file: string;
  readonly source: string;
}

interface Message {
  /** Null for a source that can't be parsed. */
  readonly rule: string | null;
  readonly message: string;
}

/** The table of design: which room may import from which others. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  events: [],
  platform: [],
  projections: ['events', 'platform'],
  cache: ['events', 'platform'],
  workflows: ['events', 'workflows/commerce', 'workflows/collector'],
  'workflows/commerce': ['events', 'workflows'],
  'workflows/collector': ['events', 'workflows'],
  activities: ['events', 'platform'],
  'activities/commerce': ['events', 'platform', 'activities'],
  'activities/collector': ['events', 'platform', 'projections', 'cache', 'activities'],
  workers: ['events', 'platform', 'projections', 'cache'].concat([
    'activities/commerce',
    'activities/collector',
  ]),
  bridge: ['events', 'platform'],
  operations: ['events', 'platform', 'projections', 'cluster'],
  api: ['events', 'platform', 'cache', 'operations'],
  cluster: ['events', 'platform', 'cache'],
  migrations: ['events', 'platform', 'projections'],
  'payments-simulator': ['platform'],
  scaffold: ['events', 'platform', 'projections'],
  testkit: everyRoom(),
  test: [...everyRoom(), 'testkit', 'experiments', 'bench'],
  bench: [...everyRoom(), 'testkit'],
  experiments: [...everyRoom(), 'testkit', 'test'],
};
const rooms = Object.keys(allowed);

function everyRoom(): string[] {
  return ['events', 'platform', 'cache', 'workers', 'bridge', 'operations', 'api', 'cluster']
    .concat(['workflows', 'workflows/commerce', 'workflows/collector'])
    .concat(['activities', 'activities/commerce', 'activities/collector'])
    .concat(['migrations', 'payments-simulator', 'projections', 'scaffold']);
}

const bannedFromWorkflows = ['node:fs', 'fs', 'node:fs/promises', 'node:crypto', 'process']
  .concat(['pg', 'ioredis', 'kafkajs', 'fastify', 'pino', 'uuid'])
  .concat(['@temporalio/client', '@temporalio/worker', '@temporalio/activity']);

/** A house of its own on disk, so that the test does not depend on which files the rooms hold. */
let house: string;
/** ESLint, started once since its start takes longer than its work. */
let linter: ChildProcessByStdio<Writable, Readable, null>;
let answers: Interface;
let linterFailed: Promise<never>;

beforeAll(() => {
  house = realpathSync(mkdtempSync(path.join(tmpdir(), 'house-')));
  for (const file of rooms.flatMap((room) => [`${room}/index.ts`, `${room}/deep/inner.ts`])) {
    write(file);
  }
  write('garage/index.ts');
  linter = spawn(process.execPath, [path.join(__dirname, 'lint-snippets.mjs')], {
    cwd: house,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  answers = createInterface({ input: linter.stdout });
  linterFailed = once(linter, 'exit').then(() => {
    throw new Error('ESLint ended; what it printed on standard error says why.');
  });
});

afterAll(async () => {
  linter.stdin.end();
  // Its end is a failure only while an answer is awaited.
  await linterFailed.catch(() => undefined);
  rmSync(house, { recursive: true, force: true });
});

function write(file: string): void {
  mkdirSync(path.join(house, path.dirname(file)), { recursive: true });
  writeFileSync(path.join(house, file), 'export const value = 1;\n');
}

async function lint(snippets: readonly Snippet[]): Promise<Message[][]> {
  const answered = once(answers, 'line') as Promise<[string]>;
  linter.stdin.write(`${JSON.stringify(snippets)}\n`);
  const [line] = await Promise.race([answered, linterFailed]);
  return JSON.parse(line) as Message[][];
}

/** The pieces that `rule` reports, and that are otherwise well formed. */
async function reportedBy(rule: string, snippets: readonly Snippet[]): Promise<string[]> {
  const messages = await lint(snippets);
  expect(messages.flat().filter((message) => message.rule === null)).toEqual([]);
  return snippets
    .filter((_, index) => messages[index]?.some((message) => message.rule === rule))
    .map(({ file, source }) => `${file}: ${source}`);
}

function texts(snippets: readonly Snippet[]): string[] {
  return snippets.map(({ file, source }) => `${file}: ${source}`);
}

function importing(from: string, target: string): Snippet {
  return { file: `${from}/file.ts`, source: `import { value } from '${target}'; void value;` };
}

/** An import from another room's index. */
function importingRoom(from: string, to: string): Snippet {
  return importing(from, `${path.relative(from, to).replace(/^(?!\.)/, './')}/index`);
}

const otherRooms = (room: string) => rooms.filter((other) => other !== room);

describe('the arrows between rooms', () => {
  it('reports every import that goes against an arrow, and none that follows one', async () => {
    const arrows = rooms.flatMap((from) => otherRooms(from).map((to) => ({ from, to })));
    const forbidden = arrows.filter(({ from, to }) => allowed[from]?.includes(to) !== true);

    const snippet = ({ from, to }: { from: string; to: string }) => importingRoom(from, to);
    expect(forbidden.length).toBeGreaterThan(200);
    expect(await reportedBy('boundaries/dependencies', arrows.map(snippet))).toEqual(
      texts(forbidden.map(snippet)),
    );
  });

  it('are those that docs/architecture.md shows', () => {
    const page = path.join(__dirname, '..', '..', 'docs', 'architecture.md');
    const rows = readFileSync(page, 'utf8').matchAll(/^\| `([\w/-]+)\/` \|.*\| ([^|]*) \|$/gm);
    const shown = [...rows].map(([, room, targets]) => [
      room,
      [...targets!.matchAll(/`([\w/-]+)`/g)].map(([, target]) => target),
    ]);

    expect(shown).toHaveLength(everyRoom().length);
    expect(Object.fromEntries(shown)).toEqual(
      Object.fromEntries(everyRoom().map((room) => [room, allowed[room]])),
    );
  });

  it('says which room may not import from which', async () => {
    const [messages = []] = await lint([importing('events', '../platform')]);

    expect(messages.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('events/ may not import this from platform/'),
    );
  });

  it('lets a room import from itself, at any depth', async () => {
    const snippets = rooms.flatMap((room) => [
      importing(room, './index'),
      importing(room, './deep/inner'),
      { file: `${room}/deep/file.ts`, source: `import { value } from '../index'; void value;` },
    ]);

    expect(await reportedBy('boundaries/dependencies', snippets)).toEqual([]);
  });

  it('holds deep inside a room too', async () => {
    const snippets = [
      { file: 'api/deep/file.ts', source: `import { value } from '../../activities/deep/inner';` },
      { file: 'bridge/deep/file.ts', source: `import { value } from '../../api/deep/inner';` },
    ];

    expect(await reportedBy('boundaries/dependencies', snippets)).toEqual(texts(snippets));
  });

  it('lets neither side know the other, whatever is imported of it', async () => {
    const sides = ['commerce', 'collector'];
    const snippets = ['workflows', 'activities'].flatMap((room) =>
      sides.flatMap((side) =>
        sides
          .filter((other) => other !== side)
          .flatMap((other) =>
            [`../${other}/index`, `../../activities/${other}/index`].map((target) => ({
              file: `${room}/${side}/file.ts`,
              source: `import type { value } from '${target}';`,
            })),
          ),
      ),
    );

    expect(snippets).toHaveLength(8);
    expect(await reportedBy('boundaries/dependencies', snippets)).toEqual(texts(snippets));
  });

  it.each([
    ['workflows/file.ts', '../activities/index'],
    ['workflows/commerce/file.ts', '../../activities/commerce/index'],
    ['workflows/collector/file.ts', '../../activities/collector/index'],
  ])('lets %s know the types of %s, and not their code', async (file, target) => {
    const types = { file, source: `import type { value } from '${target}';` };
    const code = [
      `import { value } from '${target}'; void value;`,
      `import { type value } from '${target}';`,
      `export { value } from '${target}';`,
      `export * from '${target}';`,
    ].map((source) => ({ file, source }));

    expect(await reportedBy('boundaries/dependencies', [types, ...code])).toEqual(texts(code));
  });

  it('lets the worker that runs together with a bridge know the bridge', async () => {
    const { source } = importing('workers', '../bridge');
    const snippets = [{ file: 'workers/collector-with-bridge.ts', source }];

    expect(await reportedBy('boundaries/dependencies', snippets)).toEqual([]);
  });

  it.each([
    ['re-exported', `export { value } from '../api/index';`],
    ['re-exported whole', `export * from '../api/index';`],
    ['imported while running', `void import('../api/index');`],
    ['required', `const api = require('../api/index'); void api;`],
    ['imported as a type', `import type { value } from '../api/index';`],
    ['named in a type', `export type Value = import('../api/index').value;`],
  ])('reports what is %s against an arrow', async (_how, source) => {
    const snippets = [{ file: 'platform/file.ts', source }];

    expect(await reportedBy('boundaries/dependencies', snippets)).toEqual(texts(snippets));
  });

  it('reports code that is in no room', async () => {
    const snippets = [{ file: 'garage/file.ts', source: 'export const value = 1;' }];

    expect(await reportedBy('boundaries/no-unknown-files', snippets)).toEqual(texts(snippets));
  });

  it('reports an import from what is no room', async () => {
    const snippets = ['api', 'events', 'workflows'].map((room) => importing(room, '../garage'));

    expect(await reportedBy('boundaries/no-unknown-dependencies', snippets)).toEqual(
      texts(snippets),
    );
  });
});

describe('determinism', () => {
  it('keeps every module with side effects out of workflows', async () => {
    const snippets = bannedFromWorkflows.flatMap((name) => [
      importing('workflows', name),
      { file: 'workflows/deep/file.ts', source: `export { value } from '${name}';` },
    ]);

    expect(await reportedBy('no-restricted-imports', snippets)).toEqual(texts(snippets));
  });

  it('keeps them out of events, which workflows run', async () => {
    const snippets = bannedFromWorkflows
      .filter((name) => name !== 'uuid')
      .map((name) => importing('events', name));

    expect(await reportedBy('no-restricted-imports', snippets)).toEqual(texts(snippets));
  });

  it('lets workflows import what is deterministic', async () => {
    const snippets = ['@temporalio/workflow', '@temporalio/common', './index', '../events'].map(
      (target) => importing('workflows', target),
    );

    expect((await lint(snippets)).flat()).toEqual([]);
  });

  it('lets the other rooms import modules with side effects', async () => {
    const snippets = ['platform', 'activities', 'api', 'bridge', 'workers', 'cluster'].flatMap(
      (room) => ['node:fs', 'pg', 'pino'].map((name) => importing(room, name)),
    );

    expect((await lint(snippets)).flat()).toEqual([]);
  });

  it.each([
    'process.env',
    'process.hrtime()',
    `fetch('http://127.0.0.1')`,
    'crypto.randomUUID()',
    'performance.now()',
    `Buffer.from('')`,
    '__dirname',
  ])('keeps %s out of workflows', async (expression) => {
    const snippets = [{ file: 'workflows/file.ts', source: `void ${expression};` }];

    expect(await reportedBy('no-restricted-globals', snippets)).toEqual(texts(snippets));
  });

  it.each(['Math.random()', 'Date.now()', 'setTimeout(() => {}, 1)'])(
    'lets workflows use %s, which Temporal makes deterministic',
    async (expression) => {
      expect(
        (await lint([{ file: 'workflows/file.ts', source: `void ${expression};` }])).flat(),
      ).toEqual([]);
    },
  );
});

describe('the IDs of workflows', () => {
  const spelled = [
    '`order-${value}`',
    '`dead-letter-${value}-1`',
    "'redrive-' + value",
    // The prefix of a command, which its definition has.
    '`stock-adjustment-${value}`',
  ].map((id) => ({ file: 'api/file.ts', source: `const value = 1; void (${id});` }));

  it('are put together in one place only', async () => {
    expect(await reportedBy('no-restricted-syntax', spelled)).toEqual(texts(spelled));
    const inWorkflows = spelled.map((snippet) => ({ ...snippet, file: 'workflows/file.ts' }));
    expect(await reportedBy('no-restricted-syntax', inWorkflows)).toEqual(texts(inWorkflows));
  });

  it('may be put together there, and look like them elsewhere', async () => {
    const there = spelled.map((snippet) => ({ ...snippet, file: 'events/workflow-ids.ts' }));
    const topic = { file: 'api/file.ts', source: "void 'order-events';" };

    expect(await reportedBy('no-restricted-syntax', [...there, topic])).toEqual([]);
  });
});

describe('exit codes', () => {
  const source =
    "import process from 'node:process'; process.exitCode = 0; main(); function main() {}";

  it('are set by the module that notices unfinished work, and nowhere else', async () => {
    const snippets = rooms
      .filter((room) => room !== 'platform')
      .map((room) => ({ file: `${room}/file.ts`, source }));
    const there = { file: 'platform/process/program.ts', source };

    expect(await reportedBy('no-restricted-properties', [...snippets, there])).toEqual(
      texts(snippets),
    );
  });
});

describe('signals that live long', () => {
  const source = 'void AbortSignal.any([]);';

  it('are never joined in a way that leaks, in any room', async () => {
    const destructured = {
      file: 'bridge/file.ts',
      source: 'const { any } = AbortSignal; void any;',
    };
    const snippets = rooms.map((room) => ({ file: `${room}/file.ts`, source }));

    expect(await reportedBy('no-restricted-properties', [...snippets, destructured])).toEqual(
      texts([...snippets, destructured]),
    );
  });

  it('may be joined in a browser', async () => {
    const snippets = [{ file: 'api/dashboard/client/file.ts', source }];

    expect(await reportedBy('no-restricted-properties', snippets)).toEqual([]);
  });
});

describe('kafkajs', () => {
  const rooms = ['bridge', 'operations', 'api', 'activities/collector', 'cluster', 'migrations'];
  const elsewhere = [...rooms, 'platform/dependencies'];

  it.each([
    ['a value', `import { Kafka } from 'kafkajs'; void Kafka;`],
    ['a type', `import type { Kafka } from 'kafkajs'; export type Mine = Kafka;`],
    ['what is handed on', `export type { Kafka } from 'kafkajs';`],
    [
      'something of its inside',
      `import encoder from 'kafkajs/src/protocol/encoder'; void encoder;`,
    ],
  ])('stays in its folder: %s', async (_, source) => {
    const snippets = elsewhere.map((room) => ({ file: `${room}/file.ts`, source }));

    expect(await reportedBy('no-restricted-imports', snippets)).toEqual(texts(snippets));
  });

  it('stays there however it is named', async () => {
    const snippets = [
      { file: 'bridge/file.ts', source: `export type Mine = import('kafkajs').Kafka;` },
      { file: 'bridge/file.ts', source: `void import('kafkajs');` },
    ];

    expect(await reportedBy('no-restricted-syntax', snippets)).toEqual(texts(snippets));
  });

  it('is not reached through those of the folder that speak with it', async () => {
    const snippets = ['kafkajs', 'admin', 'protocol', 'topic-metadata', 'one-that-is-new'].map(
      (name) => importing('bridge', `../platform/kafka/${name}`),
    );

    expect(await reportedBy('no-restricted-imports', snippets)).toEqual(texts(snippets));
  });

  it('may be used in its folder, and by whoever plays a client of others', async () => {
    const snippets = ['platform/kafka', 'testkit', 'test', 'bench', 'experiments']
      .map((room) => importing(room, 'kafkajs'))
      .concat(importing('bridge', '../platform/kafka/sender'));

    expect(await reportedBy('no-restricted-imports', snippets)).toEqual([]);
  });
});
