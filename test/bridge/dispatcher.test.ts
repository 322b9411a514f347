import {
  createCoalescingDispatcher,
  createPerEventDispatcher,
  type Dispatcher,
  type DispatcherDependencies,
} from '../../bridge/dispatcher';
import type { InFlight } from '../../bridge/in-flight';
import type { PartitionMessage, WorkflowPlan } from '../../bridge/workflow-plan';
import { StartRejectedError } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/observability/logger';
import { viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { carrying, received } from '../../testkit/records';

const never = new AbortController().signal;

/** Where the messages of a test stand. */
const place = { topic: 'catalog-events', partition: 4 };

/**
 * Slots, starts and handled events that a test controls.
 *
 * @param handled by the offset of the logged copy
 */
function fakes(freeSlots: number, handled: Readonly<Record<string, number>> = {}) {
  const started: WorkflowPlan[] = [];
  let free = freeSlots;
  let refuse: (plan: WorkflowPlan) => boolean = () => false;
  const known = new Set<string>();
  const inFlight: InFlight = {
    limit: 10,
    tryTakeAll: (doneBy) => {
      const { size } = new Set(doneBy);
      if (size > free) return false;
      free -= size;
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
        if (refuse(plan)) throw new StartRejectedError('no');
        if (known.has(plan.workflowId)) return false;
        known.add(plan.workflowId);
        started.push(plan);
        return true;
      },
    },
    finishedWork: {
      findDone: () => Promise.resolve([]),
      findHandled: async () =>
        new Map(Object.entries(handled).map(([id, offset]) => [id, { ...place, offset }])),
    },
    logger: createLogger('test', 'silent'),
  };
  return {
    dependencies,
    started,
    /** Temporal has had a workflow for this ID. */
    knows: (id: string) => known.add(id),
    refuseWhen(condition: (plan: WorkflowPlan) => boolean) {
      refuse = condition;
    },
  };
}

function slice(events: readonly (ForeignEvent | string)[]): PartitionMessage[] {
  return events.map((event, offset) => {
    const message = typeof event === 'string' ? { key: 'k', value: event } : carrying(event);
    return received({ ...message, offset }, place);
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
  expect(started[0]?.workflowId).toMatch(/^batch-/);
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
  // Temporal knows the others; what is not handled yet is compared, once for the same bytes.
  expect(started.map(({ type }) => type)).toEqual(['handleEvent', 'handleEventBatch']);
  expect(started.map(eventIdsOf)).toEqual([[event!.id], [event!.id]]);
});

test('coalescing, poison does not get into a batch', async () => {
  const { dependencies, started } = fakes(0);
  await dispatchAll(createCoalescingDispatcher(dependencies), [events[0]!, 'poison', events[1]!]);
  expect(started.map(({ type }) => type).sort()).toEqual(['handleEventBatch', 'parkDeadLetter']);
  expect(started.flatMap(eventIdsOf)).toEqual(ids.slice(0, 2));
});

test('coalescing, repeats and events that are handled already are left out', async () => {
  const { dependencies, started } = fakes(0, { [ids[0]!]: 0, [ids[5]!]: 5 });
  await dispatchAll(createCoalescingDispatcher(dependencies), [...events, ...events.slice(1, 5)]);
  expect(started.map(eventIdsOf)).toEqual([ids.slice(1, 5)]);
  // By this event the batch is known to be done: it must be one that still has to be handled.
  expect(started[0]?.doneBy).toBe(ids[4]);
});

test('coalescing, another event with the ID of one in the batch goes with it', async () => {
  const { dependencies, started } = fakes(0);
  const other = { ...events[0]!, source: '/another' };
  await dispatchAll(createCoalescingDispatcher(dependencies), [events[0]!, other, events[0]!]);
  expect(started.map(eventIdsOf)).toEqual([[ids[0], ids[0]]]);
});

describe.each([
  ['one by one', createPerEventDispatcher, 6],
  ['coalescing', createCoalescingDispatcher, 0],
])('%s, a message with a known ID', (_, create, slots) => {
  test('is left out when it is the very one that is logged and handled', async () => {
    const { dependencies, started, knows } = fakes(slots, { [ids[0]!]: 0 });
    knows(ids[0]!);
    await dispatchAll(create(dependencies), [events[0]!]);
    expect(started).toEqual([]);
  });

  test.each([
    ['stands elsewhere than the logged one', { [ids[0]!]: 17 }],
    ['is not handled', {}],
  ])('is compared when it %s', async (_why, handled) => {
    const { dependencies, started, knows } = fakes(slots, handled);
    knows(ids[0]!);
    await dispatchAll(create(dependencies), [events[0]!]);
    expect(started.map(({ type }) => type)).toEqual(['handleEventBatch']);
    expect(started.map(eventIdsOf)).toEqual([[ids[0]]]);
  });

  test('is compared when the database does not tell', async () => {
    const { dependencies, started, knows } = fakes(slots);
    knows(ids[0]!);
    const findHandled = () => Promise.reject(new Error('away'));
    const finishedWork = { ...dependencies.finishedWork, findHandled };
    await dispatchAll(create({ ...dependencies, finishedWork }), [events[0]!]);
    expect(started.map(eventIdsOf)).toEqual([[ids[0]]]);
  });

  test('is parked when Temporal will not take it', async () => {
    const { dependencies, started, knows, refuseWhen } = fakes(slots);
    knows(ids[0]!);
    refuseWhen(({ type }) => type === 'handleEventBatch');
    await dispatchAll(create(dependencies), [events[0]!]);
    expect(started.map(({ type }) => type)).toEqual(['parkDeadLetter']);
  });

  test('is compared together with others in one workflow, done by one that is not handled', async () => {
    const { dependencies, started, knows } = fakes(slots, { [ids[2]!]: 17 });
    ids.forEach(knows);
    await dispatchAll(create(dependencies), events.slice(0, 3));
    expect(started.map(eventIdsOf)).toEqual([ids.slice(0, 3)]);
    expect(started[0]?.doneBy).toBe(ids[1]);
  });
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

test('a batch that Temporal rejects is started one by one', async () => {
  const { dependencies, started, refuseWhen } = fakes(0);
  refuseWhen(({ type }) => type === 'handleEventBatch');
  await dispatchAll(createCoalescingDispatcher(dependencies), events);
  expect(started.map(eventIdsOf)).toEqual(ids.map((id) => [id]));
});

test('an event that Temporal rejects is parked', async () => {
  const { dependencies, started, refuseWhen } = fakes(6);
  refuseWhen(({ type, workflowId }) => type === 'handleEvent' && workflowId === ids[1]);
  await dispatchAll(createPerEventDispatcher(dependencies), events.slice(0, 3));
  expect(started.map(({ type }) => type).sort()).toEqual([
    'handleEvent',
    'handleEvent',
    'parkDeadLetter',
  ]);
});

test('a failed start is reported only when no other is in flight any more', async () => {
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
