import { readdirSync } from 'node:fs';
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { findWorkflowBundle } from '../../workers/workflow-bundle';
import { commands } from '../../events/commands';
import { withLeanSandbox } from '../../platform/temporal/lean-sandbox/worker';
import { workflowTypes } from '../../events/workflow-names';
import { historyNames, readHistory, workflowTypeOf } from './histories';

const logger = new DefaultLogger('ERROR', () => undefined);
const names = readdirSync(path.join(__dirname, 'histories')).map((file) => path.parse(file).name);
const LeanWorker = withLeanSandbox({
  logger: {
    warn(error: unknown) {
      throw new Error('The lean sandbox is not used.', { cause: error });
    },
  },
  stackTraces: false,
  onBlocked: (error) => {
    throw error;
  },
});
// A replay is one for debugging, unless it is told otherwise: without a thread of its own.
const inThread: object = { debugMode: false };
const codePaths: Record<'passed on' | 'recorded', string> = { 'passed on': '', recorded: '' };

beforeAll(async () => {
  Runtime.install({ logger, telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } } });
  codePaths['passed on'] = await findWorkflowBundle();
  codePaths.recorded = await findWorkflowBundle({ traced: true });
});

describe.each(['passed on', 'recorded'] as const)('while traces are %s', (traces) => {
  test.each(names)(
    'a run recorded as %s can go on with the workflows as they are',
    async (name) => {
      const workflowBundle = { codePath: codePaths[traces] };
      await Worker.runReplayHistory({ workflowBundle }, await readHistory(name), name);
    },
  );
});

test('every recorded run can go on in the lean sandbox', async () => {
  const histories = names.map(async (name) => ({
    workflowId: name,
    history: await readHistory(name),
  }));
  const replayed = LeanWorker.runReplayHistories(
    { workflowBundle: { codePath: codePaths['passed on'] }, ...inThread },
    await Promise.all(histories),
  );

  const failed: unknown[] = [];
  let count = 0;
  for await (const { error, workflowId } of replayed) {
    count += 1;
    if (error !== undefined) failed.push({ workflowId, error });
  }
  expect(failed).toEqual([]);
  expect(count).toBe(names.length);
});

test('every workflow has a recorded run', async () => {
  const histories = await Promise.all((await historyNames()).map(readHistory));
  const recorded = new Set(histories.map(workflowTypeOf));
  const types = [...Object.values(workflowTypes), ...commands.map(({ name }) => name)];
  expect(types.filter((type) => !recorded.has(type))).toEqual([]);
});

test.each([
  ["Temporal's own", Worker],
  ['the lean', LeanWorker],
])(
  'in %s sandbox a workflow that does something else than its recorded run is found out',
  async (_, SomeWorker) => {
    const workflowBundle = await bundleWorkflowCode({
      workflowsPath: path.join(__dirname, 'fixtures', 'changed-workflows'),
      logger,
    });
    const replayed = SomeWorker.runReplayHistory(
      { workflowBundle, ...inThread },
      await readHistory('adjust-stock'),
      'adjust-stock',
    );
    await expect(replayed).rejects.toBeInstanceOf(DeterminismViolationError);
  },
);
