/**
 * The parts of a command, in four rooms: none can be left out. What the compiler notices is in
 * `@ts-expect-error` here, which `npm run typecheck` holds to.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { Commands } from '../../api/commands/temporal-commands';
import { commandRoute } from '../../api/commands/route';
import { productCommandRoutes } from '../../api/products/command-routes';
import { defineCommand } from '../../events/command-definition';
import type { Expired } from '../../events/command-expiry';
import { commands } from '../../events/commands';
import { adjustStock } from '../../events/commands/adjust-stock';
import { reservedEventIdPrefixes, isReservedEventId } from '../../events/reserved-event-ids';
import { workflowTypes } from '../../events/workflow-names';
import * as workflows from '../../workflows';

const root = path.join(__dirname, '..', '..');

/** The text of each file in a folder, by its name. */
function sourcesIn(folder: string): [file: string, source: string][] {
  return readdirSync(path.join(root, folder))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => [file, readFileSync(path.join(root, folder, file), 'utf8')]);
}

function fileOf(name: string): string {
  return `${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}.ts`;
}

describe('every part is registered', () => {
  test('a command in events/commands/ is in the list of its index', () => {
    const files = sourcesIn('events/commands').map(([file]) => file);
    const registered = commands.map(({ name }) => fileOf(name));
    expect(files.filter((file) => file !== 'index.ts')).toEqual(registered.sort());
  });

  test('activities in activities/commerce/ are in its index', () => {
    const defined = sourcesIn('activities/commerce')
      .filter(([file]) => file !== 'index.ts')
      .flatMap(([, source]) => [...source.matchAll(/export function (create\w+Activities)\(/g)])
      .map(([, factory]) => factory!);
    const index = readFileSync(path.join(root, 'activities/commerce/index.ts'), 'utf8');
    expect(defined.length).toBeGreaterThan(5);
    expect(defined.filter((factory) => !index.includes(`...${factory}(`))).toEqual([]);
  });

  test('every command and every other type of workflow has a workflow, and there is no other', () => {
    const types = [...Object.values(workflowTypes), ...commands.map(({ name }) => name)];
    expect(Object.keys(workflows).sort()).toEqual(types.sort());
  });

  test('every command has a route', () => {
    const routes = Object.values(productCommandRoutes).flat();
    expect([...new Set(routes.map(({ command }) => command))].sort()).toEqual(
      commands.map(({ name }) => name).sort(),
    );
  });
});

/** The workflow of a command takes its input, and answers its outcome or that it has expired. */
type WorkflowOf<Command> = Command extends {
  readonly input: infer Input extends z.ZodObject;
  readonly outcome?: infer Outcome;
}
  ? (command: z.output<Input>) => Promise<Outcome | Expired>
  : never;

type WorkflowsOfCommands = {
  [Command in (typeof commands)[number] as Command['name']]: WorkflowOf<Command>;
};

const unregistered = defineCommand<{ readonly kind: 'done' }>()({
  name: 'unregistered',
  workflowIdPrefix: 'unregistered-',
  input: z.strictObject({ requestId: z.string(), count: z.int() }),
  key: 'requestId',
  aggregate: 'requestId',
  summary: ({ count }) => `Do ${count} things`,
});

test('the compiler notices what is missing, and what does not fit', () => {
  workflows satisfies WorkflowsOfCommands;
  // @ts-expect-error There is no workflow of this command.
  ({ ...workflows, changeLike: undefined }) satisfies WorkflowsOfCommands;
  // @ts-expect-error It answers another outcome.
  ({ ...workflows, changeLike: async () => ({ kind: 'done' }) }) satisfies WorkflowsOfCommands;

  const execute: Commands['execute'] = jest.fn();
  // @ts-expect-error The command is not registered.
  void execute(unregistered, { requestId: 'r', count: 1 });
  // @ts-expect-error The reason is not one of an adjustment.
  void execute(adjustStock, { adjustmentId: 'a', productId: 'p', delta: 1, reason: 'order' });
  // @ts-expect-error The command is not registered.
  expect(commandRoute(unregistered, {})).toBeDefined();
  const other = { name: 'other', workflowIdPrefix: 'other-', summary: () => '' } as const;
  const input = z.strictObject({ requestId: z.string(), count: z.int() });
  // @ts-expect-error A workflow's ID is made of text.
  defineCommand()({ ...other, input, key: 'count', aggregate: 'requestId' });
});

describe('the IDs of the workflows', () => {
  test('are reserved: no event may have one', () => {
    const id = adjustStock.workflowId({ adjustmentId: 'a' });
    expect(isReservedEventId(id)).toBe(true);
    expect(isReservedEventId(unregistered.workflowId({ requestId: 'r' }))).toBe(false);
  });

  test('differ between two kinds of workflow: no prefix is the beginning of another', () => {
    const shared = reservedEventIdPrefixes.flatMap((prefix, index) =>
      reservedEventIdPrefixes
        .filter((other, at) => at !== index && other.startsWith(prefix))
        .map((other) => `${prefix} and ${other}`),
    );
    expect(shared).toEqual([]);
  });
});
