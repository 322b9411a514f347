import {
  createCoalescingDispatcher,
  createPerEventDispatcher,
  type Dispatcher,
  type DispatcherDependencies,
} from '../../bridge/dispatcher';
import type { InFlight } from '../../bridge/in-flight';
import type { PartitionMessage, WorkflowPlan } from '../../bridge/workflow-plan';
import { StartRefusedError } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/logger';
import { viewed, type ForeignEvent } from '../integration/foreign-producer';
import { carrying, received } from './records';

const never = new AbortController().signal;

/** Slots, starts and handled events that a test controls. */
function fakes(freeSlots: number, handled: readonly string[] = []) {
  const started: WorkflowPlan[] = [];
  let free = freeSlots;
  let refuse: (plan: WorkflowPlan) => boolean = () => false;
  const inFlight: InFlight = {
    limit: 10,
    tryTakeAll: ({ length }) => {
      if (length > free) return false;
      free -= length;
      return true;
    },
    refresh: () => Promise.resolve(),
    take: () => Promise.resolve(),
    release: () => undefined,
    count: () => freeSlots - free,
  };
  const dependencies: DispatcherDependencies = {
    inFlight,
    starter: {
      async start(plan) {
        if (refuse(plan)) throw new StartRefusedError('no');
        started.push(plan);
        return true;
      },
    },
    finishedWork: {
      findDone: () => Promise.resolve([]),
      findHandled: (ids) => Promise.resolve(ids.filter((id) => handled.includes(id))),
    },
    logger: createLogger('test', 'silent'),
  };
  return {
    dependencies,
    started,
    refuseWhen(condition: (plan: WorkflowPlan) => boolean) {
      refuse = condition;
    },
  };
}

function slice(events: readonly (ForeignEvent | string)[]): PartitionMessage[] {
  return events.map((event, offset) => {
    const message = typeof event === 'string' ? { key: 'k', value: event } : carrying(event);
    return received({ ...message, offset }, { partition: 4 });
  });
}

function dispatchAll(dispatcher: Dispatcher, events: readonly (ForeignEvent | string)[]) {
  return dispatcher.dispatch(slice(events), never);
}

function eventIdsOf(plan: WorkflowPlan): string[] {
  if (plan.type === 'handleEventBatch') return plan.input[0].map(({ eventId }) => eventId);
  return plan.type === 'handleEvent' ? [plan.event.id] : [];
}

const events = Array.from({ length: 6 }, () => viewed('product-1'));
const ids = events.map(({ id }) => id);

test('one workflow an event, always, when so configured', async () => {
  const { dependencies, started } = fakes(0);
  await dispatchAll(createPerEventDispatcher(dependencies), events);
  expect(started.map(({ workflowId }) => workflowId)).toEqual(ids);
});

test('coalescing, one workflow an event where there is a slot for each', async () => {
  const { dependencies, started } = fakes(6);
  await dispatchAll(createCoalescingDispatcher(dependencies), events);
  expect(started.map(({ type }) => type)).toEqual(ids.map(() => 'handleEvent'));
});

test('coalescing, what finds too few slots goes together into the next', async () => {
  const { dependencies, started } = fakes(5);
  await dispatchAll(createCoalescingDispatcher(dependencies), events);
  expect(started.map(eventIdsOf)).toEqual([ids]);
  expect(started[0]?.workflowId).toBe('batch-catalog-events-4-0-5');
});

test('coalescing, slots whose work is done are looked for before events are put together', async () => {
  const { dependencies, started } = fakes(5);
  let looked = false;
  const inFlight: InFlight = {
    ...dependencies.inFlight,
    tryTakeAll: () => looked,
    refresh: () => Promise.resolve(void (looked = true)),
  };
  await dispatchAll(createCoalescingDispatcher({ ...dependencies, inFlight }), events);
  expect(started.map(eventIdsOf)).toEqual(ids.map((id) => [id]));
});

test('coalescing, a slice that is larger than all slots is not looked for slots', async () => {
  const { dependencies, started } = fakes(20);
  const refresh = jest.fn(() => Promise.resolve());
  const inFlight: InFlight = { ...dependencies.inFlight, limit: 5, refresh };
  await dispatchAll(createCoalescingDispatcher({ ...dependencies, inFlight }), events);
  expect(started.map(eventIdsOf)).toEqual([ids]);
  expect(refresh).not.toHaveBeenCalled();
});

test('coalescing, repeats within a slice need one slot', async () => {
  const { dependencies, started } = fakes(1);
  const [event] = events;
  await dispatchAll(createCoalescingDispatcher(dependencies), [event!, event!, event!]);
  expect(started.map(({ type }) => type)).toEqual(['handleEvent', 'handleEvent', 'handleEvent']);
});

test('coalescing, poison does not get into a batch', async () => {
  const { dependencies, started } = fakes(0);
  await dispatchAll(createCoalescingDispatcher(dependencies), [events[0]!, 'poison', events[1]!]);
  expect(started.map(({ type }) => type).sort()).toEqual(['handleEventBatch', 'parkDeadLetter']);
  expect(started.flatMap(eventIdsOf)).toEqual(ids.slice(0, 2));
});

test('coalescing, repeats and events that are handled already are left out', async () => {
  const { dependencies, started } = fakes(0, [ids[0]!, ids[5]!]);
  await dispatchAll(createCoalescingDispatcher(dependencies), [...events, ...events]);
  expect(started.map(eventIdsOf)).toEqual([ids.slice(1, 5)]);
  // By this event the batch is known to be done: it must be one that still has to be handled.
  expect(started[0]?.doneBy).toBe(ids[4]);
});

test('coalescing, events that are too large for one batch go into several', async () => {
  const { dependencies, started } = fakes(0);
  const large = Array.from({ length: 6 }, () => ({
    ...viewed('product-1'),
    padding: 'x'.repeat(250_000),
  }));
  await dispatchAll(createCoalescingDispatcher(dependencies), large);
  expect(started.map((plan) => eventIdsOf(plan).length)).toEqual([4, 2]);
});

test('a batch that Temporal refuses is started one by one', async () => {
  const { dependencies, started, refuseWhen } = fakes(0);
  refuseWhen(({ type }) => type === 'handleEventBatch');
  await dispatchAll(createCoalescingDispatcher(dependencies), events);
  expect(started.map(eventIdsOf)).toEqual(ids.map((id) => [id]));
});

test('an event that Temporal refuses is parked', async () => {
  const { dependencies, started, refuseWhen } = fakes(6);
  refuseWhen(({ type, workflowId }) => type === 'handleEvent' && workflowId === ids[1]);
  await dispatchAll(createPerEventDispatcher(dependencies), events.slice(0, 3));
  expect(started.map(({ type }) => type).sort()).toEqual([
    'handleEvent',
    'handleEvent',
    'parkDeadLetter',
  ]);
});

test('a start that fails is told only when no other is under way any more', async () => {
  const { dependencies } = fakes(6);
  let finished = 0;
  const starter = {
    async start(plan: WorkflowPlan) {
      if (plan.workflowId === ids[0]) throw new Error('aborted');
      await new Promise((resolve) => setImmediate(resolve));
      finished += 1;
      return true;
    },
  };
  for (const create of [createPerEventDispatcher, createCoalescingDispatcher]) {
    finished = 0;
    const dispatcher = create({ ...dependencies, ...fakes(6).dependencies, starter });
    await expect(dispatchAll(dispatcher, events)).rejects.toThrow('aborted');
    expect(finished).toBe(5);
  }
});
