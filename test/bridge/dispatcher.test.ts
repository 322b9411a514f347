import { setMaxListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import {
  createDispatcher,
  type Dispatcher,
  type DispatcherDependencies,
} from '../../bridge/dispatcher';
import type { FinishedWork } from '../../bridge/finished-work';
import { createInFlight } from '../../bridge/in-flight';
import { createOverdueWork } from '../../bridge/overdue-work';
import type { PartitionMessage, WorkflowPlan } from '../../bridge/workflow-plan';
import { StartRejectedError } from '../../bridge/workflow-starter';
import { createLogger } from '../../platform/observability/logger';
import { orAborted } from '../../platform/process/waiting';
import { viewed, type ForeignEvent } from '../../testkit/foreign-producer';
import { carrying, received } from '../../testkit/records';
import type { Coordinates } from '../../events/received';
import { until } from '../../testkit/until';

const never = new AbortController().signal;
setMaxListeners(0, never);

/** Where the messages of a test stand. */
const place = { topic: 'catalog-events', partition: 4 };

interface Fakes {
  /** Offset of the logged copy of the handled events. */
  readonly handled?: Readonly<Record<string, number>>;
  /** Whether the work of a started workflow is done at once. */
  readonly finishesAtOnce?: boolean;
}

/** Slots, with a Temporal and a database that a test controls. */
function fakes(limit: number, { handled = {}, finishesAtOnce = true }: Fakes = {}) {
  const started: WorkflowPlan[] = [];
  const finished = new Set<string>();
  const known = new Set<string>();
  const held: (() => void)[] = [];
  let refuse: (plan: WorkflowPlan) => boolean = () => false;
  let answers: 'at once' | 'when told' = 'at once';
  const findDone = jest.fn(async (ids: readonly string[]) => ids.filter((id) => finished.has(id)));
  const finishedWork: FinishedWork = {
    findDone,
    findHandled: async () =>
      new Map(Object.entries(handled).map(([id, offset]) => [id, { ...place, offset }])),
  };
  const logger = createLogger('test', 'silent');
  const repeats: number[] = [];
  const dependencies: DispatcherDependencies = {
    inFlight: createInFlight({ finishedWork, logger }, { limit, pollMs: 1 }),
    starter: {
      async start(plan, signal) {
        signal.throwIfAborted();
        if (answers === 'when told') {
          await orAborted(new Promise<void>((answer) => held.push(answer)), signal);
        }
        if (refuse(plan)) throw new StartRejectedError('no');
        // The others join a workflow that runs, or begin another one.
        if (plan.type === 'handleEvent' && known.has(plan.workflowId)) return false;
        known.add(plan.workflowId);
        started.push(plan);
        if (finishesAtOnce) finished.add(plan.doneBy);
        return true;
      },
    },
    finishedWork,
    repeats: {
      count: async (given) => void repeats.push(...given.map(({ offset }) => offset)),
    },
    logger,
  };
  return {
    dependencies,
    started,
    /** Offsets of what was counted as a repeat. */
    repeats,
    findDone,
    /** Temporal has had a workflow for this ID. */
    knows: (id: string) => known.add(id),
    finish: (id: string) => finished.add(id),
    refuseWhen(condition: (plan: WorkflowPlan) => boolean) {
      refuse = condition;
    },
    /** From now on starts wait. @returns how many wait, and a function that answers them */
    hold() {
      answers = 'when told';
      return {
        waiting: () => held.length,
        answer() {
          answers = 'at once';
          for (const each of held.splice(0)) each();
        },
      };
    },
  };
}

function slice(
  events: readonly (ForeignEvent | string)[],
  { partition } = place,
): PartitionMessage[] {
  return events.map((event, offset) => {
    const message = typeof event === 'string' ? { key: 'k', value: event } : carrying(event);
    return received({ ...message, offset }, { ...place, partition });
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
  const { dependencies, started } = fakes(2);
  await dispatchAll(createDispatcher(dependencies, 'per-event'), events);
  expect(started.map(({ workflowId }) => workflowId)).toEqual(ids);
});

test.each(['per-event', 'coalesce'] as const)(
  '%s, no more workflows are in flight than there are slots',
  async (mode) => {
    const { dependencies, started, finish, findDone } = fakes(1, { finishesAtOnce: false });
    const dispatcher = createDispatcher(dependencies, mode);
    await dispatchAll(dispatcher, events.slice(0, 1));
    const next = dispatchAll(dispatcher, events.slice(1, 2));
    await until('it has looked several times', () => findDone.mock.calls.length > 3);
    expect(started.flatMap(eventIdsOf)).toEqual(ids.slice(0, 1));
    finish(ids[0]!);
    await next;
    expect(started.flatMap(eventIdsOf)).toEqual(ids.slice(0, 2));
  },
);

test.each(['per-event', 'coalesce'] as const)(
  '%s, work that the database forgets is handled anew, and what waits for its slot goes on',
  async (mode) => {
    const { dependencies, started, finish } = fakes(1, { finishesAtOnce: false });
    const overdueWork = createOverdueWork(
      { ...dependencies, hasEnded: async () => true },
      { afterMs: 1, pauseMs: 1 },
    );
    const inFlight = createInFlight({ ...dependencies, overdueWork }, { limit: 1, pollMs: 1 });
    const dispatcher = createDispatcher({ ...dependencies, inFlight }, mode);
    const first = dispatchAll(dispatcher, events.slice(0, 2));
    await until('one is started', () => started.length > 0);
    const next = dispatchAll(dispatcher, events.slice(2));
    await until('it is started again', () => started.length > 1);
    const [lost, anew] = started;
    expect(anew).toMatchObject({ type: 'handleEventBatch', doneBy: lost!.doneBy });
    expect(eventIdsOf(anew!)).toEqual(eventIdsOf(lost!));
    ids.forEach(finish);
    await Promise.all([first, next]);
    expect(new Set(started.flatMap(eventIdsOf))).toEqual(new Set(ids));
  },
);

test.each([
  [4, 10],
  [32, 32],
  [1_000, 100],
])(
  'with %d slots for single events a partition has slices of %d, so that each is soon committed',
  (slots, size) => {
    const { dependencies } = fakes(slots);
    expect(createDispatcher(dependencies, 'per-event').sliceSize).toBe(size);
  },
);

test('coalescing, one workflow an event where there is a slot for each', async () => {
  const { dependencies, started } = fakes(6);
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), events);
  expect(started.map(({ type }) => type)).toEqual(ids.map(() => 'handleEvent'));
});

test('coalescing, what finds too few slots goes together into the next', async () => {
  const { dependencies, started, findDone } = fakes(5);
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), events);
  expect(started.map(eventIdsOf)).toEqual([ids]);
  expect(started[0]?.workflowId).toMatch(/^batch-/);
  // More than all slots could take: nothing is to be looked for.
  expect(findDone).not.toHaveBeenCalled();
});

test('coalescing, slots whose work is done are looked for before events are put together', async () => {
  const { dependencies, started, findDone } = fakes(6);
  const dispatcher = createDispatcher(dependencies, 'coalesce');
  await dispatchAll(dispatcher, [viewed('product-2')]);
  expect(findDone).not.toHaveBeenCalled();
  await dispatchAll(dispatcher, events);
  expect(started.slice(1).map(eventIdsOf)).toEqual(ids.map((id) => [id]));
});

test('coalescing, what waits in all partitions goes together into the next slot', async () => {
  const { dependencies, started, finish } = fakes(1, { finishesAtOnce: false });
  const dispatcher = createDispatcher(dependencies, 'coalesce');
  const first = viewed('product-2');
  await dispatchAll(dispatcher, [first]);
  const slices = events.map((event, partition) =>
    dispatcher.dispatch(slice([event], { ...place, partition }), never),
  );
  finish(first.id);
  await Promise.all(slices);
  expect(started.slice(1).map(eventIdsOf)).toEqual([ids]);
});

test('coalescing, much poison and many batches take turns: neither waits for all of the other', async () => {
  const { dependencies, started } = fakes(1);
  const dispatcher = createDispatcher(dependencies, 'coalesce');
  const poison = Array.from({ length: 20 }, (_, index) => `poison ${index}`);
  const large = Array.from({ length: 16 }, () => ({
    ...viewed('product-1'),
    padding: 'x'.repeat(250_000),
  }));
  await Promise.all([
    dispatcher.dispatch(slice(poison), never),
    dispatcher.dispatch(slice(large, { ...place, partition: 5 }), never),
  ]);
  const types = started.map(({ type }) => type);
  expect(types).toHaveLength(24);
  expect(types.indexOf('parkDeadLetter')).toBeLessThan(3);
  expect(types.lastIndexOf('handleEventBatch')).toBeLessThan(10);
});

describe('a partition that is revoked', () => {
  test.each(['per-event', 'coalesce'] as const)(
    '%s, leaves the queue, and no other partition waits for it',
    async (mode) => {
      const { dependencies, started, finish } = fakes(1, { finishesAtOnce: false });
      const dispatcher = createDispatcher(dependencies, mode);
      const [first, revoked, kept] = events;
      await dispatchAll(dispatcher, [first!]);
      const revoking = new AbortController();
      const given = dispatcher.dispatch(slice([revoked!]), revoking.signal);
      const other = dispatcher.dispatch(slice([kept!], { ...place, partition: 1 }), never);
      revoking.abort(new Error('revoked'));
      await expect(given).rejects.toThrow('revoked');
      finish(first!.id);
      await other;
      expect(started.flatMap(eventIdsOf)).toEqual([first!.id, kept!.id]);
    },
  );

  test('gives up its batch while Temporal does not answer, and the others of the batch are started', async () => {
    const { dependencies, started, hold } = fakes(1);
    const { waiting, answer } = hold();
    const dispatcher = createDispatcher(dependencies, 'coalesce');
    const revoking = new AbortController();
    const given = dispatcher.dispatch(slice(events.slice(0, 2)), revoking.signal);
    const other = dispatcher.dispatch(slice(events.slice(2), { ...place, partition: 1 }), never);
    await until('the batch is being started', () => waiting() === 1);
    revoking.abort(new Error('revoked'));
    await expect(given).rejects.toThrow('revoked');
    answer();
    await other;
    expect(started.map(eventIdsOf)).toEqual([ids.slice(2)]);
  });

  test('does not wait for another slot when Temporal knows its event', async () => {
    const { dependencies, knows, hold } = fakes(1);
    knows(ids[0]!);
    const { waiting, answer } = hold();
    // Temporal answers although the partition has been revoked meanwhile.
    const starter = { start: (plan: WorkflowPlan) => dependencies.starter.start(plan, never) };
    const tryTakeAll = jest.fn().mockReturnValueOnce(true).mockReturnValue(false);
    const inFlight = { ...dependencies.inFlight, tryTakeAll };
    const dispatcher = createDispatcher({ ...dependencies, starter, inFlight }, 'per-event');
    const revoking = new AbortController();
    const given = dispatcher.dispatch(slice(events.slice(0, 1)), revoking.signal);
    const rejected = expect(given).rejects.toThrow('revoked');
    await until('it is being started', () => waiting() === 1);
    revoking.abort(new Error('revoked'));
    answer();
    await rejected;
  });

  test('that is aborted already is not started', async () => {
    const { dependencies, started } = fakes(6);
    const dispatcher = createDispatcher(dependencies, 'per-event');
    const aborted = AbortSignal.abort(new Error('revoked'));
    await expect(dispatcher.dispatch(slice(events), aborted)).rejects.toThrow('revoked');
    expect(started).toEqual([]);
  });
});

test('coalescing, many copies of an event start no more workflows at once than there are slots', async () => {
  const { dependencies, started, repeats, hold } = fakes(3);
  const { waiting, answer } = hold();
  const copies = Array.from({ length: 50 }, () => events[0]!);
  const delivered = dispatchAll(createDispatcher(dependencies, 'coalesce'), copies);
  await until('a start is under way', () => waiting() > 0);
  await nextTurn();
  expect(waiting()).toBeLessThanOrEqual(3);
  answer();
  await delivered;
  expect(started.map(eventIdsOf)).toEqual([[events[0]!.id]]);
  expect(repeats).toHaveLength(49);
});

test('coalescing, repeats within a slice that are started each by itself share a slot', async () => {
  const { dependencies, started, repeats, hold } = fakes(3);
  const { waiting, answer } = hold();
  const [event] = events;
  const dispatcher = createDispatcher(dependencies, 'coalesce');
  const delivered = dispatchAll(dispatcher, [event!, event!, event!]);
  await until('all are being started', () => waiting() === 3);
  expect(dependencies.inFlight.count()).toBe(1);
  answer();
  await delivered;
  // Temporal knows the others; what is not handled yet is compared, once for the same bytes.
  expect(started.map(({ type }) => type)).toEqual(['handleEvent', 'handleEventBatch']);
  expect(started.map(eventIdsOf)).toEqual([[event!.id], [event!.id]]);
  // What is compared is counted by whoever compares it.
  expect(repeats).toEqual([2]);
});

test('coalescing, poison does not get into a batch', async () => {
  const { dependencies, started } = fakes(1);
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), [events[0]!, 'poison', events[1]!]);
  expect(started.map(({ type }) => type).sort()).toEqual(['handleEventBatch', 'parkDeadLetter']);
  expect(started.flatMap(eventIdsOf)).toEqual(ids.slice(0, 2));
});

test('coalescing, repeats and events that are handled already are left out, and counted', async () => {
  const { dependencies, started, repeats } = fakes(1, { handled: { [ids[0]!]: 0, [ids[5]!]: 5 } });
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), [...events, ...events.slice(1, 5)]);
  expect(started.map(eventIdsOf)).toEqual([ids.slice(1, 5)]);
  // By this event the batch is known to be done: it must be one that still has to be handled.
  expect(started[0]?.doneBy).toBe(ids[4]);
  expect(repeats).toEqual([0, 5, 6, 7, 8, 9]);
});

test('coalescing, the database is asked what is handled until new events come, and when a partition is read again', async () => {
  const { dependencies } = fakes(1, { handled: { [ids[0]!]: 0, [ids[1]!]: 1 } });
  const findHandled = jest.fn(dependencies.finishedWork.findHandled);
  const finishedWork = { ...dependencies.finishedWork, findHandled };
  const dispatcher = createDispatcher({ ...dependencies, finishedWork }, 'coalesce');
  const all = slice(events);
  const steps = [
    ['redelivered', all.slice(0, 2), true],
    ['the first new ones', all.slice(2, 4), true],
    ['more new ones', all.slice(4), false],
    ['another partition', slice(events.slice(0, 2), { ...place, partition: 5 }), true],
    ['read again', all.slice(0, 2), true],
  ] as const;
  for (const [what, messages, isAsked] of steps) {
    findHandled.mockClear();
    await dispatcher.dispatch(messages, never);
    expect([what, findHandled.mock.calls.length]).toEqual([what, isAsked ? 1 : 0]);
  }
});

test('coalescing, another event with the ID of one in the batch goes with it', async () => {
  const { dependencies, started } = fakes(1);
  const [one, another] = events;
  const other = { ...one!, source: '/another' };
  const dispatcher = createDispatcher(dependencies, 'coalesce');
  await dispatchAll(dispatcher, [one!, another!, other, one!]);
  expect(started.map(eventIdsOf)).toEqual([[one!.id, another!.id, one!.id]]);
});

describe.each([
  ['per-event', 6],
  ['coalesce', 1],
] as const)('%s, a message with a known ID', (mode, slots) => {
  test('is left out and counted when it is the very one that is logged and handled', async () => {
    const { dependencies, started, repeats, knows } = fakes(slots, { handled: { [ids[0]!]: 0 } });
    knows(ids[0]!);
    await dispatchAll(createDispatcher(dependencies, mode), [events[0]!]);
    expect(started).toEqual([]);
    expect(repeats).toEqual([0]);
  });

  test.each([
    ['stands elsewhere than the logged one', { [ids[0]!]: 17 }],
    ['is not handled', {}],
  ])('is compared when it %s', async (_why, handled) => {
    const { dependencies, started, knows } = fakes(slots, { handled });
    knows(ids[0]!);
    await dispatchAll(createDispatcher(dependencies, mode), [events[0]!]);
    expect(started.map(({ type }) => type)).toEqual(['handleEventBatch']);
    expect(started.map(eventIdsOf)).toEqual([[ids[0]]]);
  });

  test('is compared when the database does not tell', async () => {
    const { dependencies, started, knows } = fakes(slots);
    knows(ids[0]!);
    const findHandled = () => Promise.reject(new Error('away'));
    const finishedWork = { ...dependencies.finishedWork, findHandled };
    await dispatchAll(createDispatcher({ ...dependencies, finishedWork }, mode), [events[0]!]);
    expect(started.map(eventIdsOf)).toEqual([[ids[0]]]);
  });

  test('is parked when Temporal will not take it', async () => {
    const { dependencies, started, repeats, knows, refuseWhen } = fakes(slots);
    knows(ids[0]!);
    refuseWhen(({ type }) => type === 'handleEventBatch');
    await dispatchAll(createDispatcher(dependencies, mode), [events[0]!]);
    expect(started.map(({ type }) => type)).toEqual(['parkDeadLetter']);
    expect(repeats).toEqual([]);
  });

  test('is compared together with others in one workflow, done by one that is not handled', async () => {
    const { dependencies, started, knows } = fakes(slots, { handled: { [ids[2]!]: 17 } });
    ids.forEach(knows);
    await dispatchAll(createDispatcher(dependencies, mode), events.slice(0, 3));
    expect(started.map(eventIdsOf)).toEqual([ids.slice(0, 3)]);
    expect(started[0]?.doneBy).toBe(ids[1]);
  });
});

test('coalescing, events that are too large for one batch go into several', async () => {
  const { dependencies, started } = fakes(1);
  const large = Array.from({ length: 6 }, () => ({
    ...viewed('product-1'),
    padding: 'x'.repeat(250_000),
  }));
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), large);
  expect(started.map((plan) => eventIdsOf(plan).length)).toEqual([4, 2]);
});

test('a batch that Temporal rejects is started one by one', async () => {
  const { dependencies, started, refuseWhen } = fakes(1);
  refuseWhen(({ type }) => type === 'handleEventBatch');
  await dispatchAll(createDispatcher(dependencies, 'coalesce'), events);
  expect(started.map(eventIdsOf)).toEqual(ids.map((id) => [id]));
});

test('an event that Temporal rejects is parked', async () => {
  const { dependencies, started, refuseWhen } = fakes(6);
  refuseWhen(({ type, workflowId }) => type === 'handleEvent' && workflowId === ids[1]);
  await dispatchAll(createDispatcher(dependencies, 'per-event'), events.slice(0, 3));
  expect(started.map(({ type }) => type).sort()).toEqual([
    'handleEvent',
    'handleEvent',
    'parkDeadLetter',
  ]);
});

test.each(['per-event', 'coalesce'] as const)(
  '%s, a failed start is reported only when no other is in flight any more',
  async (mode) => {
    const { dependencies } = fakes(6);
    let finished = 0;
    const starter = {
      async start(plan: WorkflowPlan) {
        if (plan.workflowId === ids[0]) throw new Error('aborted');
        await nextTurn();
        finished += 1;
        return true;
      },
    };
    const dispatcher = createDispatcher({ ...dependencies, starter }, mode);
    await expect(dispatchAll(dispatcher, events)).rejects.toThrow('aborted');
    expect(finished).toBe(5);
  },
);

test('whatever Temporal answers, a slice is delivered when each of its messages is, and slots suffice', async () => {
  const messages = fc.array(fc.nat({ max: 20 }), { maxLength: 12 });
  const answers = fc.array(fc.constantFrom('started', 'known', 'rejected', 'failed'));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('per-event' as const, 'coalesce' as const),
      fc.integer({ min: 1, max: 8 }),
      fc.array(messages, { minLength: 1, maxLength: 6 }),
      answers,
      deliverWhateverIsAnswered,
    ),
    { numRuns: 200 },
  );
});

async function deliverWhateverIsAnswered(
  mode: 'per-event' | 'coalesce',
  limit: number,
  numbers: readonly (readonly number[])[],
  answers: string[],
): Promise<void> {
  const { dependencies } = fakes(limit);
  const delivered = new Set<string>();
  const finished = new Set<string>();
  const remaining = [...answers];
  const mostInFlight: number[] = [];
  const starter = {
    async start(plan: WorkflowPlan): Promise<boolean> {
      mostInFlight.push(inFlight.count());
      await nextTurn();
      const answer = remaining.shift() ?? 'started';
      if (answer === 'failed') throw new Error('failed');
      if (answer === 'rejected' && !isSmallest(plan)) throw new StartRejectedError('no');
      finished.add((plan as { doneBy: string }).doneBy);
      if (answer === 'known' && plan.type === 'handleEvent') return false;
      for (const { partition, offset } of carriedBy(plan)) {
        delivered.add(bytesOf(given[partition]![offset]!.entry));
      }
      return true;
    },
  };
  const finishedWork: FinishedWork = {
    findDone: async (ids) => ids.filter((id) => finished.has(id)),
    findHandled: () => Promise.resolve(new Map()),
  };
  const inFlight = createInFlight(
    { finishedWork, logger: dependencies.logger },
    { limit, pollMs: 1 },
  );
  const dispatcher = createDispatcher({ ...dependencies, starter, finishedWork, inFlight }, mode);
  const given = numbers.map((ofPartition, partition) =>
    slice(
      // Some invalid, and some with the same ID, as from two producers.
      ofPartition.map((number) => (number === 0 ? 'poison' : numbered(number, partition))),
      { ...place, partition },
    ),
  );
  await Promise.all(
    given.map(async (messages) => {
      const isDelivered = await dispatcher.dispatch(messages, never).then(
        () => true,
        () => false,
      );
      if (!isDelivered) return;
      for (const { entry } of messages) expect(delivered).toContain(bytesOf(entry));
    }),
  );
  expect(Math.max(0, ...mostInFlight)).toBeLessThanOrEqual(limit);
}

/** Of each ID two events, that differ. */
function numbered(id: number, partition: number): ForeignEvent {
  return { ...viewed('product-1'), id: `event-${id}`, source: `/producer-${partition % 2}` };
}

/** A plan for which there is no smaller one. */
function isSmallest(plan: WorkflowPlan): boolean {
  return plan.type === 'parkDeadLetter' && 'lastOffset' in plan.input[0];
}

/** Where the messages stand that a plan carries. */
function carriedBy(plan: WorkflowPlan): readonly Coordinates[] {
  switch (plan.type) {
    case 'handleEvent':
    case 'handleEventBatch':
      return plan.input.flat();
    case 'parkDeadLetter':
      return [plan.input[0]];
    case 'recordVanishedOffsets':
      return [];
  }
}

/** Copies have the same bytes, and are carried once. */
function bytesOf(entry: PartitionMessage['entry']): string {
  return entry.kind === 'record' ? String(entry.value) : '';
}
