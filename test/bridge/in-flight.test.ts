import type { FinishedWork } from '../../bridge/finished-work';
import { createInFlight } from '../../bridge/in-flight';
import { createLogger } from '../../platform/observability/logger';
import { bridgeInFlight, bridgeSlots } from '../../platform/observability/telemetry';
import { until } from '../../testkit/until';

const logger = createLogger('test', 'silent');

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

test('slots are taken without asking', () => {
  const { finishedWork, asked } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 2 });
  inFlight.tryTakeAll(['a']);
  inFlight.tryTakeAll(['b']);
  expect(inFlight.count()).toBe(2);
  expect(asked).toEqual([]);
});

test('a repeat shares the slot of its event, and gives back only its own share', async () => {
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 1, pollMs: 1 });
  expect(inFlight.tryTakeAll(['a', 'a'])).toBe(true);
  inFlight.release('a');
  expect(inFlight.count()).toBe(1);
  finish('a');
  await inFlight.refresh();
  expect(inFlight.count()).toBe(0);
});

test('without waiting, slots are taken only if there is one for each', async () => {
  const { finishedWork, asked, finish } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 3, pollMs: 1 });
  expect(inFlight.tryTakeAll(['a', 'b'])).toBe(true);
  expect(inFlight.tryTakeAll(['c', 'd'])).toBe(false);
  expect(inFlight.count()).toBe(2);
  expect(inFlight.tryTakeAll(['b', 'c'])).toBe(true);
  expect(asked).toEqual([]);
  finish('a', 'b');
  await inFlight.refresh();
  expect(inFlight.tryTakeAll(['d', 'e'])).toBe(true);
});

test('one look serves everybody who waits for it', async () => {
  const { finishedWork, asked } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 1, pollMs: 1 });
  inFlight.tryTakeAll(['a']);
  await Promise.all(Array.from({ length: 50 }, () => inFlight.refresh()));
  expect(asked).toEqual([['a']]);
});

test('a workflow that has its slot already needs no other', () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 1 });
  inFlight.tryTakeAll(['a']);
  inFlight.tryTakeAll(['a']);
  expect(inFlight.count()).toBe(1);
});

test('a slot that gets another ID stays taken, also in a full house', () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 2 });
  inFlight.tryTakeAll(['a', 'b']);
  inFlight.rename('a', 'c');
  expect(inFlight.count()).toBe(2);
  expect(inFlight.tryTakeAll(['a'])).toBe(false);
  expect(inFlight.tryTakeAll(['c'])).toBe(true);
});

test('a released slot is free', () => {
  const { finishedWork } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 1 });
  inFlight.tryTakeAll(['a']);
  inFlight.release('a');
  inFlight.tryTakeAll(['b']);
  expect(inFlight.count()).toBe(1);
});

test('an unavailable database frees nothing, and is asked less and less often', async () => {
  const { finishedWork, asked, finish, breakWith } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 1, pollMs: 10 });
  inFlight.tryTakeAll(['a']);
  finish('a');
  breakWith(new Error('away'));
  const from = performance.now();
  for (let look = 0; look < 5; look += 1) await inFlight.refresh();
  expect(asked).toHaveLength(5);
  // 10, 20, 40 and 80 ms between them; a timer may be a millisecond early.
  expect(performance.now() - from).toBeGreaterThanOrEqual(146);
  expect(inFlight.count()).toBe(1);
  breakWith(undefined);
  await inFlight.refresh();
  expect(inFlight.count()).toBe(0);
});

test('a slot whose workflow never finishes is given up in the end', async () => {
  const { finishedWork } = fakeFinishedWork();
  const limits = { limit: 1, pollMs: 1, abandonAfterMs: 20 };
  const inFlight = createInFlight({ finishedWork, logger }, limits);
  inFlight.tryTakeAll(['terminated']);
  await until('its slot is free', async () => {
    await inFlight.refresh();
    return inFlight.tryTakeAll(['next']);
  });
});

test('the metrics have the slots and those that are taken', async () => {
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight({ finishedWork, logger }, { limit: 2, pollMs: 1 });
  expect(await valueOf(bridgeSlots)).toBe(2);
  inFlight.tryTakeAll(['a', 'b']);
  expect(await valueOf(bridgeInFlight)).toBe(2);
  finish('a');
  await inFlight.refresh();
  expect(await valueOf(bridgeInFlight)).toBe(1);
  inFlight.release('b');
  expect(await valueOf(bridgeInFlight)).toBe(0);
});

test('what has finished is no longer shown, also when nothing new comes', async () => {
  const { finishedWork, finish } = fakeFinishedWork();
  const inFlight = createInFlight(
    { finishedWork, logger },
    { limit: 10, pollMs: 1, idlePollMs: 5 },
  );
  inFlight.tryTakeAll(['a']);
  inFlight.tryTakeAll(['b']);
  finish('a');
  await until('one is left', async () => (await valueOf(bridgeInFlight)) === 1);
  finish('b');
  await until('none is left', async () => (await valueOf(bridgeInFlight)) === 0);
});
