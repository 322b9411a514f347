/** What `npm run new` writes for an event type, a projection or a command. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { PlannedFile } from './files';

/** What can be made. */
export const kinds = ['event', 'projection', 'command'] as const;

/** What is to be made. */
export interface Plan {
  readonly kind: (typeof kinds)[number];
  /** In any spelling: `ReviewPosted`, `review-posted`, `review_posted`. */
  readonly name: string;
  /** The event that a command publishes. */
  readonly event?: string | undefined;
  /** The topic of an event. */
  readonly topic?: 'catalog-events' | 'order-events' | undefined;
}

/** The files of a plan, and what is left for a person to do. */
export interface Planned {
  readonly files: readonly PlannedFile[];
  readonly left: readonly string[];
}

/** A plan that cannot be carried out. The message says why. */
class PlanError extends Error {
  override readonly name = 'PlanError';
  readonly code = 'PLAN_INVALID';
}

/**
 * The new files, and the old ones with their new lines, below the root.
 *
 * @param root whose files are read
 * @throws PlanError when a name is none, or is taken
 */
export function plan(root: string, { kind, name, event, topic }: Plan): Planned {
  const names = namesOf(name);
  const planned = { event: planEvent, projection: planProjection, command: planCommand }[kind];
  return planned({ root, names: { ...names, ...topicOf(topic), ...eventOf(root, kind, event) } });
}

type Names = Readonly<Record<string, string>>;

interface Context {
  readonly root: string;
  /** What stands in a template in braces. */
  readonly names: Names;
}

function planEvent(context: Context): Planned {
  const { root, names } = context;
  const line = `    ${names['Pascal']}: nothing,\n`;
  const folder = 'projections/effects';
  return {
    files: [
      create(context, 'events/types/{{kebab}}.ts', 'event'),
      ...readdirSync(path.join(root, folder)).map((file) =>
        insert(context, `${folder}/${file}`, [['\n  on: {\n', '', `\n  on: {\n${line}`]]),
      ),
    ],
    left: [
      `Fill in the TODOs of ${fill('events/types/{{kebab}}.ts', names)}.`,
      `Say in ${folder}/ what it does instead of nothing, and in projections/tables/ what is kept.`,
      ...afterwards,
    ],
  };
}

function planProjection(context: Context): Planned {
  const types = readdirSync(path.join(context.root, 'events/types'))
    .filter((file) => file !== 'index.ts')
    .map((file) => `    ${namesOf(path.basename(file, '.ts'))['Pascal']}: nothing,\n`);
  const names = { ...context.names, nothings: types.join('') };
  return {
    files: [
      create({ ...context, names }, 'projections/effects/{{kebab}}.ts', 'effects'),
      create(context, 'projections/tables/{{kebab}}.ts', 'table'),
    ],
    left: [
      `Fill in the TODOs of ${fill('projections/{effects,tables}/{{kebab}}.ts', names)}.`,
      ...afterwards,
    ],
  };
}

function planCommand(context: Context): Planned {
  const importLine = `import { {{camel}} } from '../../events/commands/{{kebab}}';\n`;
  const typeImport = `import type { {{Pascal}}, {{Pascal}}Outcome } from '../../events/commands/{{kebab}}';\n`;
  const registerProduct = `import { registerProduct } from '../../events/commands/register-product';\n`;
  const activities = 'create{{Pascal}}Activities';
  return {
    files: [
      create(context, 'events/commands/{{kebab}}.ts', 'command'),
      create(context, 'activities/commerce/{{kebab}}.ts', 'activity'),
      create(context, 'test/integration/{{kebab}}.test.ts', 'command-test'),
      insert(context, 'events/commands/index.ts', [
        ['\nexport const commands', `import { {{camel}} } from './{{kebab}}';\n`],
        ['] as const;', ', {{camel}}'],
      ]),
      insert(context, 'activities/commerce/index.ts', [
        ['\n/** Connections of', `import { ${activities} } from './{{kebab}}';\n`],
        ['    ...createPublishActivities(', `    ...${activities}({ pool }),\n`],
      ]),
      insert(context, 'workflows/commerce/commands.ts', [
        [`import { localFirst`, typeImport],
        ['function productOf(', template('workflow')],
      ]),
      insert(context, 'api/products/command-routes.ts', [
        [registerProduct, importLine],
        ['/** The routes of each command,', template('route')],
        ['} satisfies { [Name in CommandName]', '  {{camel}}: [{{camel}}Route],\n'],
      ]),
      insert(context, 'test/workflows/record-histories.ts', [
        [registerProduct, importLine],
        [`  {\n    name: 'place-order',`, template('history')],
      ]),
    ],
    left: [
      'Fill in the TODOs of the files above; npm run typecheck names what does not fit.',
      fill('node launch.mjs run test/workflows/record-histories.ts {{kebab}}', context.names),
      fill('npm run format && npm run typecheck && npm run lint', context.names),
      fill('npm test -- events workflows api {{kebab}}', context.names),
    ],
  };
}

const afterwards = [
  'npm run generate, and read the migration that it writes.',
  'npm run format && npm run typecheck && npm run lint && npm test -- scaffold events projections',
];

function create({ root, names }: Context, file: string, from: string): PlannedFile {
  const target = fill(file, names);
  if (existsSync(path.join(root, target))) throw new PlanError(`${target} exists already.`);
  return { file: target, text: fill(template(from), names) };
}

/** Lines before a place that must be there once, or (`instead`) in its place. */
type Insertion = readonly [place: string, lines: string, instead?: string];

function insert({ root, names }: Context, file: string, insertions: readonly Insertion[]) {
  let text = readFileSync(path.join(root, file), 'utf8');
  for (const [place, lines, instead = place] of insertions) {
    if (text.split(place).length !== 2)
      throw new PlanError(`${file} has not one "${place.trim()}".`);
    text = text.replace(place, () => fill(lines, names) + instead);
  }
  return { file, text };
}

function template(name: string): string {
  return readFileSync(path.join(__dirname, 'templates', `${name}.txt`), 'utf8');
}

function fill(text: string, names: Names): string {
  return text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => names[name] ?? '');
}

function namesOf(name: string): Names {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .split(/[-_]/);
  if (!words.every((word) => /^[a-z][a-z0-9]*$/.test(word))) {
    throw new PlanError(`"${name}" is no name: give words of letters and digits, as ReviewPosted.`);
  }
  const Pascal = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
  const camel = Pascal[0]!.toLowerCase() + Pascal.slice(1);
  return { Pascal, camel, kebab: words.join('-'), snake: words.join('_') };
}

function topicOf(topic: Plan['topic'] = 'catalog-events'): Names {
  return topic === 'catalog-events'
    ? { topic, aggregate: 'productId', example: 'product-1' }
    : { topic, aggregate: 'orderId', example: 'order-1' };
}

function eventOf(root: string, kind: Plan['kind'], event: string | undefined): Names {
  if (kind !== 'command') return {};
  if (event === undefined)
    throw new PlanError('Name the event that it publishes: --event ReviewPosted.');
  const names = namesOf(event);
  if (existsSync(path.join(root, 'events/types', `${names['kebab']}.ts`))) {
    return { Event: names['Pascal']! };
  }
  throw new PlanError(`There is no event ${event}: npm run new -- event ${names['Pascal']} first.`);
}
