import type { FinishedWork } from '../../bridge/finished-work';
import { createInFlight } from '../../bridge/in-flight';
import { createLogger } from '../../platform/observability/logger';
import { bridgeInFlight, bridgePaused, bridgeSlots } from '../../platform/observability/telemetry';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');
const never = new AbortController().signal;

/** A database that answers which of the workflows asked for have finished. */
function fakeFinishedWork() {
  const finished = new Set<string>();
  const asked: string[][] = [];
  let problem: Error | undefined;
  const finishedWork: FinishedWork = {
    async findDone(ids) {
      asked.push([...ids]);
      if (problem !== undefined) throw problem;
      return ids.filter((id) => finished.has(id));
    },
    findHandled: () => Promise.reject(new Error('nobody asks for this')),
  };
  return {
    finishedWork,
    asked,
    finish: (...ids: string[]) => ids.forEach((id) => finished.add(id)),
    breakWith: (error: Error | undefined) => {
      problem = error;
    },
  };
}

async function valueOf(metric: typeof bridgeSlots): Promise<number | undefined> {
  return (await metric.get()).values[0]?.value;
}

function observed(promise: Promise<void>) {
  const state = { taken: false };
  promise.then(
    () => (state.taken = true),
    () => undefined,
  );
  return state;
}

test('slots are taken without asking while any is free', async () => {
  const { finishedWork, asked } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 2 });
  await inFlight.take('a', never);
  await inFlight.take('b', never);
  expect(inFlight.count()).toBe(2);
  expect(asked).toEqual([]);
});

test('a repeat shares the slot of its event, and gives back only its own share', async () => {
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1, pollMs: 1 });
  expect(inFlight.tryTakeAll(['a', 'a'])).toBe(true);
  inFlight.release('a');
  expect(inFlight.count()).toBe(1);
  finish('a');
  await inFlight.refresh();
  expect(inFlight.count()).toBe(0);
});

test('who finds none free waits until one is finished, and gets exactly that one', async () => {
  const { finishedWork, asked, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 2, pollMs: 1 });
  await inFlight.take('a', never);
  await inFlight.take('b', never);
  const waiting = ['c', 'd'].map((id) => observed(inFlight.take(id, never)));
  await until('it has looked several times', () => asked.length > 3);
  expect(waiting.map(({ taken }) => taken)).toEqual([false, false]);
  finish('a');
  await until('one has got the slot', () => waiting.some(({ taken }) => taken));
  const looks = asked.length;
  await until('it has looked again', () => asked.length > looks + 3);
  expect(waiting.map(({ taken }) => taken)).toEqual([true, false]);
  expect(inFlight.count()).toBe(2);
  finish('b');
  await until('the other has one too', () => waiting.every(({ taken }) => taken));
});

test('without waiting, slots are taken only if there is one for each', async () => {
  const { finishedWork, asked, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 3, pollMs: 1 });
  expect(inFlight.tryTakeAll(['a', 'b'])).toBe(true);
  expect(inFlight.tryTakeAll(['c', 'd'])).toBe(false);
  expect(inFlight.count()).toBe(2);
  expect(inFlight.tryTakeAll(['b', 'c'])).toBe(true);
  expect(asked).toEqual([]);
  finish('a', 'b');
  await inFlight.refresh();
  expect(inFlight.tryTakeAll(['d', 'e'])).toBe(true);
});

test('one look serves everybody who waits', async () => {
  const { finishedWork, asked, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1, pollMs: 1 });
  await inFlight.take('first', never);
  finish('first', ...Array.from({ length: 50 }, (_, index) => `waiter-${index}`));
  await Promise.all(
    Array.from({ length: 50 }, (_, index) => inFlight.take(`waiter-${index}`, never)),
  );
  expect(asked.every((ids) => ids.length === 1)).toBe(true);
  expect(asked.length).toBeLessThanOrEqual(51);
});

test('a workflow that has its slot already does not wait for another', async () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1 });
  await inFlight.take('a', never);
  await inFlight.take('a', never);
  expect(inFlight.count()).toBe(1);
});

test('a released slot is free', async () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1 });
  await inFlight.take('a', never);
  inFlight.release('a');
  await inFlight.take('b', never);
  expect(inFlight.count()).toBe(1);
});

test('who waits is let go when aborted', async () => {
  const { finishedWork, asked } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1, pollMs: 1 });
  await inFlight.take('a', never);
  const abort = new AbortController();
  const waiting = inFlight.take('b', abort.signal);
  await until('it waits', () => asked.length > 0);
  abort.abort(new Error('stopping'));
  await expect(waiting).rejects.toThrow('stopping');
  expect(inFlight.count()).toBe(1);
});

test('an unavailable database frees nothing and breaks nothing', async () => {
  const { finishedWork, asked, finish, breakWith } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 1, pollMs: 1 });
  await inFlight.take('a', never);
  finish('a');
  breakWith(new Error('away'));
  const waiting = observed(inFlight.take('b', never));
  await until('it has tried several times', () => asked.length > 3);
  expect(waiting.taken).toBe(false);
  breakWith(undefined);
  await until('it has the slot', () => waiting.taken);
});

test('a slot whose workflow never finishes is given up in the end', async () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, {
    limit: 1,
    pollMs: 1,
    abandonAfterMs: 20,
  });
  await inFlight.take('terminated', never);
  await inFlight.take('next', never);
  expect(inFlight.count()).toBe(1);
});

test('the metrics have the slots, those that are taken, and whether anybody waits for one', async () => {
  const isPaused = async (): Promise<boolean> =>
    (await bridgePaused.get()).values.some(
      ({ labels, value }) => labels.reason === 'no-slot' && value === 1,
    );
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 2, pollMs: 1 });
  expect([await valueOf(bridgeSlots), await isPaused()]).toEqual([2, false]);
  await inFlight.take('a', never);
  await inFlight.take('b', never);
  expect([await valueOf(bridgeInFlight), await isPaused()]).toEqual([2, false]);
  const waiting = inFlight.take('c', never);
  expect(await isPaused()).toBe(true);
  finish('a', 'b');
  await waiting;
  expect([await valueOf(bridgeInFlight), await isPaused()]).toEqual([1, false]);
  inFlight.release('c');
  expect(await valueOf(bridgeInFlight)).toBe(0);
});

test('what has finished is no longer shown, also when nothing new comes', async () => {
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight(finishedWork, logger, { limit: 10, pollMs: 1, idlePollMs: 5 });
  await inFlight.take('a', never);
  await inFlight.take('b', never);
  finish('a');
  await until('one is left', async () => (await valueOf(bridgeInFlight)) === 1);
  finish('b');
  await until('none is left', async () => (await valueOf(bridgeInFlight)) === 0);
});
