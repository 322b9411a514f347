/**
 * The rules of the code: what TypeScript's checker can prove about promises and types, which room of
 * the house may import from which, and what keeps `workflows/` deterministic.
 *
 * `test/lint/architecture.test.ts` proves that each of the arrows between rooms is held.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import eslint from '@eslint/js';
import boundaries from 'eslint-plugin-boundaries';
import { defineConfig, globalIgnores } from 'eslint/config';
import typescript from 'typescript-eslint';

/**
 * Which rooms a room may import from. Every room may import from itself. The shop's side and the
 * collector's, where a room has both, meet through Kafka only: neither may import from the other.
 */
const arrows = {
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
  workers: [
    ...['events', 'platform', 'projections', 'cache'],
    ...['activities/commerce', 'activities/collector'],
  ],
  bridge: ['events', 'platform'],
  operations: ['events', 'platform', 'projections', 'cluster'],
  api: ['events', 'platform', 'cache', 'operations'],
  cluster: ['events', 'platform', 'cache'],
  migrations: ['events', 'platform', 'projections'],
  'payments-simulator': ['platform'],
  scaffold: ['events', 'platform', 'projections'],
};
const rooms = Object.keys(arrows);

/** Workflows know the types of the activities that they call, and none of their code. */
const activityTypes = {
  workflows: ['activities', 'activities/commerce', 'activities/collector'],
  'workflows/commerce': ['activities', 'activities/commerce'],
  'workflows/collector': ['activities', 'activities/collector'],
};

/** Who starts a workflow by a schedule needs the type of its input. */
const workflowTypes = { workers: ['workflows'] };

/** These may look into every room, and no room looks into them. */
const outsideArrows = {
  testkit: [],
  test: ['testkit', 'experiments', 'bench'],
  bench: ['testkit'],
  // They let the faults of the fault suite strike.
  experiments: ['testkit', 'test'],
};
const outsideRooms = Object.keys(outsideArrows);

const allow = (from, types, dependency) => ({
  from: { element: { type: from } },
  allow: { to: { element: { types: { anyOf: types } } }, ...dependency },
});

const housePolicies = [
  ...rooms.map((room) => allow(room, [room, ...arrows[room]])),
  ...Object.entries({ ...activityTypes, ...workflowTypes }).map(([room, types]) =>
    allow(room, types, { dependency: { kind: 'type' } }),
  ),
  {
    from: { file: { categories: 'worker-with-bridge' } },
    allow: { to: { element: { type: 'bridge' } } },
  },
  ...outsideRooms.map((room) => allow(room, [room, ...outsideArrows[room], ...rooms])),
];

/** The first pattern that a path matches is its room's, so the sides of a room come before it. */
const elements = [...rooms, ...outsideRooms].toSorted(
  (one, other) => other.split('/').length - one.split('/').length,
);

const house = {
  files: ['**/*.ts'],
  plugins: { boundaries },
  settings: {
    'boundaries/elements': elements.map((room) => ({
      type: room,
      pattern: room,
      partialMatch: false,
    })),
    'boundaries/files': [
      { category: 'worker-with-bridge', pattern: 'workers/collector-with-bridge.ts' },
    ],
    'boundaries/dependency-nodes': ['import', 'export', 'require', 'dynamic-import'],
    'boundaries/additional-dependency-nodes': [
      { selector: 'TSImportType > Literal', kind: 'type', name: 'import-type' },
    ],
    'boundaries/legacy-templates': false,
    'import/resolver': { node: { extensions: ['.ts', '.js', '.json'] } },
  },
  rules: {
    'boundaries/dependencies': [
      'error',
      {
        default: 'disallow',
        policies: housePolicies,
        message:
          '{{ from.element.type }}/ may not import this from {{ to.element.type }}/: ' +
          'the arrows between rooms stand in eslint.config.mjs.',
      },
    ],
    'boundaries/no-unknown-dependencies': 'error',
    'boundaries/no-unknown-files': 'error',
  },
};

/** Whatever is no path and does not end one of these names. Node.js' own modules are among them. */
const allBut = (packages) => `^(?!\\.{1,2}/|(?:${packages.join('|')})$)`;

const commandFolder = path.join(import.meta.dirname, 'events', 'commands');
const commandPrefixes = readdirSync(commandFolder).flatMap((file) => {
  const source = readFileSync(path.join(commandFolder, file), 'utf8');
  return [...source.matchAll(/workflowIdPrefix: '(.+)-'/g)].map(([, prefix]) => prefix);
});

/**
 * Selectors for a workflow's ID that is put together by hand, `order-${…}`. Prefixes as in
 * events/workflow-ids.ts and events/commands/, whose IDs nothing else may build and read.
 */
const otherPrefixes = [
  ...['order', 'publish', 'batch', 'dead-letter', 'redrive', 'notification'],
  'delivery-audit',
];
const idPrefixes = `(?:${[...commandPrefixes, ...otherPrefixes].join('|')})-`;
const spelledWorkflowIds = [
  `TemplateLiteral[expressions.0] > TemplateElement:first-child[value.raw=/^${idPrefixes}$/]`,
  `BinaryExpression[operator='+'][left.value=/^${idPrefixes}$/]`,
].map((selector) => ({
  selector,
  message: 'Only events/workflow-ids.ts and the commands build and read the IDs of workflows.',
}));

const workflowIdRule = {
  files: rooms.map((room) => `${room}/**/*.ts`),
  ignores: ['events/workflow-ids.ts'],
  rules: { 'no-restricted-syntax': ['error', ...spelledWorkflowIds] },
};

/**
 * What of platform/kafka/ other rooms may import: it has the project's own words for a producer, a consumer and
 * Kafka's administration, and no type of kafkajs. The rest of the folder speaks with kafkajs.
 */
const kafkaSeam = [
  ...['batch-consumer', 'client', 'connection', 'consumer-group', 'consumer-lag', 'partition-log'],
  ...['record-batch', 'sender', 'topic-administration', 'topic-offsets', 'topic-watch'],
];
const kafkaSeamMessage =
  'kafkajs stays in platform/kafka/: import one of the modules that eslint.config.mjs lists as its seam.';

/**
 * Tests, experiments and benchmarks may use kafkajs: with it they play clients of others, faults and what the
 * project is compared with.
 */
const kafkaRule = {
  files: rooms.map((room) => `${room}/**/*.ts`),
  ignores: ['platform/kafka/**', 'events/workflow-ids.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          { regex: '^kafkajs(?:/|$)', message: kafkaSeamMessage },
          { regex: `/kafka/(?!(?:${kafkaSeam.join('|')})$)`, message: kafkaSeamMessage },
        ],
      },
    ],
    'no-restricted-syntax': [
      'error',
      ...spelledWorkflowIds,
      ...['TSImportType', 'ImportExpression'].map((node) => ({
        selector: `${node} Literal[value=/^kafkajs\\b/]`,
        message: kafkaSeamMessage,
      })),
    ],
  },
};

const pureRooms = [
  {
    files: ['events/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: allBut(['zod', 'uuid', '@temporalio/common']),
              message:
                'events/ does no I/O, since workflows run it: it imports zod, uuid and ' +
                '@temporalio/common only.',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['workflows/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: allBut(['@temporalio/workflow', '@temporalio/common']),
              message:
                'workflows/ is deterministic: it imports @temporalio/workflow and ' +
                '@temporalio/common only. What has a side effect belongs to activities/.',
            },
          ],
        },
      ],
      'no-restricted-syntax': [
        'error',
        ...spelledWorkflowIds,
        { selector: 'ImportExpression', message: 'A workflow is one bundle: import at the top.' },
      ],
      // Math.random, Date and setTimeout are missing here: Temporal makes them deterministic.
      'no-restricted-globals': [
        'error',
        ...['process', 'require', 'global', 'Buffer', 'fetch', 'WebSocket', 'XMLHttpRequest'],
        ...['crypto', 'performance', 'setImmediate', 'queueMicrotask', 'FinalizationRegistry'],
        ...['WeakRef', '__dirname', '__filename'],
      ],
    },
  },
];

const typedCode = {
  files: ['**/*.ts'],
  extends: [typescript.configs.recommendedTypeChecked],
  languageOptions: {
    parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
  },
  rules: {
    '@typescript-eslint/consistent-type-imports': [
      'error',
      { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
    ],
    '@typescript-eslint/naming-convention': [
      'error',
      // What is taken apart has the names of its source, such as those of the environment.
      { selector: 'variable', modifiers: ['destructured'], format: null },
      { selector: 'variable', format: ['camelCase', 'PascalCase'] },
      { selector: 'variable', filter: { regex: '^_', match: true }, format: null },
      // Members are `private`, not `#private`: no name of theirs is allowed.
      {
        selector: ['classProperty', 'classMethod'],
        modifiers: ['#private'],
        format: null,
        custom: { regex: '^private$', match: true },
      },
    ],
    '@typescript-eslint/no-explicit-any': 'error',
    '@typescript-eslint/no-floating-promises': 'error',
    '@typescript-eslint/no-misused-promises': 'error',
    '@typescript-eslint/no-unused-vars': [
      'error',
      { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
    ],
    '@typescript-eslint/only-throw-error': 'error',
    '@typescript-eslint/prefer-promise-reject-errors': 'error',
    // A function may be asynchronous since its interface is.
    '@typescript-eslint/require-await': 'off',
    '@typescript-eslint/restrict-template-expressions': [
      'error',
      { allowNumber: true, allow: ['Error', 'URL', 'URLSearchParams'] },
    ],
    '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
    // Dependencies are records of functions, handed over and taken apart.
    '@typescript-eslint/unbound-method': 'off',
    '@typescript-eslint/switch-exhaustiveness-check': [
      'error',
      { considerDefaultExhaustiveForUnions: true },
    ],
    eqeqeq: 'error',
    'no-restricted-properties': [
      'error',
      {
        object: 'AbortSignal',
        property: 'any',
        message:
          'On a signal that lives long it leaks on Node.js 20: use withLinkedSignal of platform/process/abort.ts.',
      },
      {
        object: 'process',
        property: 'exitCode',
        message:
          'A program that ends before its work would exit with 0: use runProgram of platform/process/program.ts.',
      },
    ],
    'no-console': 'off',
    // What `npm run new` leaves for a person to decide.
    'no-warning-comments': ['error', { terms: ['todo'], location: 'anywhere' }],
  },
};

/** Answers over HTTP and rows of SQL are untyped; a test that reads them wrongly fails anyway. */
const testCode = {
  files: ['test/**/*.ts', 'testkit/**/*.ts', 'bench/**/*.ts'],
  rules: {
    '@typescript-eslint/no-unsafe-argument': 'off',
    '@typescript-eslint/no-unsafe-assignment': 'off',
    '@typescript-eslint/no-unsafe-call': 'off',
    '@typescript-eslint/no-unsafe-member-access': 'off',
    '@typescript-eslint/no-unsafe-return': 'off',
  },
};

/** Browsers do not leak there, and have no Node.js to take another way by. */
const browserCode = {
  files: ['api/dashboard/client/**/*.ts'],
  rules: { 'no-restricted-properties': 'off' },
};

/** What ends a process has to say how. */
const processEnds = {
  files: ['platform/process/*.ts'],
  rules: { 'no-restricted-properties': 'off' },
};

const scripts = {
  files: ['**/*.js', '**/*.cjs', '**/*.mjs'],
  languageOptions: {
    globals: Object.fromEntries(
      ['process', 'console', 'module', 'require', 'URL', '__dirname'].map((name) => [
        name,
        'readonly',
      ]),
    ),
  },
};

export default defineConfig(
  globalIgnores(['dist/', '.cluster/', '.workflow-bundle/', 'coverage/', '**/node_modules/']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  eslint.configs.recommended,
  typedCode,
  testCode,
  browserCode,
  processEnds,
  house,
  workflowIdRule,
  kafkaRule,
  ...pureRooms,
  scripts,
);
