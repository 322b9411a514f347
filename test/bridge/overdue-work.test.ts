import { createOverdueWork, type OverdueWorkOptions } from '../../bridge/overdue-work';
import { planWorkflow, type WorkflowPlan } from '../../bridge/workflow-plan';
import { createLogger } from '../../platform/observability/logger';
import { viewed } from '../../testkit/foreign-producer';
import { carrying, received } from '../../testkit/records';

/** A Temporal and a database that a test controls, and a clock. */
function createFakes(options: OverdueWorkOptions = {}) {
  const state = { now: 0, away: false };
  const unanswered = new Set<string>();
  const ended = new Set<string>();
  const completed = new Set<string>();
  const done = new Set<string>();
  const asked: string[] = [];
  const started: WorkflowPlan[] = [];
  const overdueWork = createOverdueWork(
    {
      async hasEnded(workflowId) {
        asked.push(workflowId);
        if (state.away || unanswered.has(workflowId)) throw new Error('away');
        return ended.has(workflowId);
      },
      starter: {
        async start(plan) {
          if (completed.has(plan.workflowId)) return false;
          started.push(plan);
          ended.delete(plan.workflowId);
          return true;
        },
      },
      finishedWork: { findDone: async (ids) => ids.filter((id) => done.has(id)) },
      logger: createLogger('test', 'silent'),
    },
    { ...options, now: () => state.now },
  );
  return {
    overdueWork,
    state,
    asked,
    started,
    unanswered,
    ended,
    completed,
    done,
    async lookAt(seconds: number) {
      state.now = seconds * 1_000;
      await overdueWork.look();
    },
  };
}

function planEvent(): WorkflowPlan {
  return planWorkflow(received(carrying(viewed('lamp'))));
}

test('a workflow that runs is asked about less and less often, and not started again', async () => {
  const { overdueWork, asked, started, lookAt } = createFakes();
  overdueWork.watch(planEvent());
  const askedAt: number[] = [];
  for (let second = 1; second <= 200; second += 1) {
    const before = asked.length;
    await lookAt(second);
    if (asked.length > before) askedAt.push(second);
  }
  expect(askedAt).toEqual([5, 15, 35, 75, 135, 195]);
  expect(started).toEqual([]);
});

test('work that Temporal does not know any more is started again as it was', async () => {
  const { overdueWork, started, ended, lookAt } = createFakes();
  const plan = planEvent();
  overdueWork.watch(plan);
  ended.add(plan.workflowId);
  await lookAt(5);
  expect(started).toEqual([plan]);
});

test('an event whose workflow has completed is handled anew in a batch, which is looked after in turn', async () => {
  const { overdueWork, asked, started, ended, completed, lookAt } = createFakes();
  const plan = planEvent();
  overdueWork.watch(plan);
  ended.add(plan.workflowId);
  completed.add(plan.workflowId);
  await lookAt(5);
  expect(started).toMatchObject([
    { type: 'handleEventBatch', doneBy: plan.doneBy, input: [plan.input] },
  ]);
  const [batch] = started;
  ended.add(batch!.workflowId);
  await lookAt(15);
  expect(asked).toEqual([plan.workflowId, batch!.workflowId]);
  expect(started).toEqual([batch, batch]);
});

test('a message whose parking is forgotten is parked again', async () => {
  const { overdueWork, started, ended, lookAt } = createFakes();
  const plan = planWorkflow(received({ value: 'not json' }));
  overdueWork.watch(plan);
  ended.add(plan.workflowId);
  await lookAt(5);
  expect(started).toEqual([plan]);
});

test('nothing is started again that the database knows as done by then', async () => {
  const { overdueWork, asked, started, ended, done, lookAt } = createFakes();
  const plan = planEvent();
  overdueWork.watch(plan);
  ended.add(plan.workflowId);
  done.add(plan.doneBy);
  await lookAt(5);
  expect(asked).toEqual([plan.workflowId]);
  expect(started).toEqual([]);
});

test('what is forgotten is not asked about', async () => {
  const { overdueWork, asked, lookAt } = createFakes();
  const plan = planEvent();
  overdueWork.watch(plan);
  overdueWork.forget(plan.doneBy);
  await lookAt(60);
  expect(asked).toEqual([]);
});

test('while Temporal is away it is asked less and less often, and afterwards the work goes on', async () => {
  const { overdueWork, state, asked, started, ended, lookAt } = createFakes();
  const plan = planEvent();
  overdueWork.watch(plan);
  ended.add(plan.workflowId);
  state.away = true;
  const askedAt: number[] = [];
  for (let second = 1; second <= 60; second += 1) {
    const before = asked.length;
    await lookAt(second);
    if (asked.length > before) askedAt.push(second);
  }
  expect(askedAt).toEqual([5, 6, 8, 12, 20, 36]);
  expect(started).toEqual([]);
  state.away = false;
  await lookAt(66);
  expect(started).toEqual([plan]);
});

test('one look asks about few, and the next one about the others', async () => {
  const { overdueWork, asked, lookAt } = createFakes({ atOnce: 2 });
  const plans = [planEvent(), planEvent(), planEvent()];
  plans.forEach((plan) => overdueWork.watch(plan));
  const ids = plans.map(({ workflowId }) => workflowId);
  await lookAt(5);
  expect(asked).toEqual(ids.slice(0, 2));
  await lookAt(6);
  expect(asked).toEqual(ids);
});

test('a workflow that nobody can tell anything about does not keep the others from being asked about', async () => {
  const { overdueWork, asked, unanswered, lookAt } = createFakes();
  const [silent, other] = [planEvent(), planEvent()];
  for (const plan of [silent, other]) overdueWork.watch(plan);
  unanswered.add(silent.workflowId);
  await lookAt(5);
  await lookAt(6);
  expect(asked).toEqual([silent.workflowId, other.workflowId, silent.workflowId]);
});
