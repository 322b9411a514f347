import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { ProductLockedError } from '../../workers/product-locks';
import { takingTurns } from '../../workers/retry-turns';

const retryPolicy = { initialInterval: 500, backoffCoefficient: 2, maximumInterval: 10_000 };
const perSecond = 20;
const tea = new ProductLockedError(['tea']);

/** A worker whose time passes as a test says. */
function createWorker() {
  const clock = { ms: 1_000_000 };
  const interceptor = takingTurns({ perSecond, now: () => clock.ms });
  /** Fails an attempt. @returns what Temporal is told */
  const fail = async (error: Error, attempt = 1): Promise<Error> => {
    const environment = new MockActivityEnvironment({ attempt, retryPolicy });
    const { inbound } = interceptor(environment.context);
    const input = { args: [], headers: {} };
    const failed = inbound!.execute!(input, () => Promise.reject(error));
    return (await failed.catch((reason: unknown) => reason)) as Error;
  };
  /** @returns when Temporal has the attempt back, in ms from now */
  const delayAfter = async (error: Error, attempt = 1): Promise<number> => {
    const told = await fail(error, attempt);
    if (told instanceof ApplicationFailure && told.nextRetryDelay !== undefined) {
      return Number(told.nextRetryDelay);
    }
    return Math.min(500 * 2 ** (attempt - 1), 10_000);
  };
  /** Has an attempt succeed. */
  const succeed = async (): Promise<void> => {
    const { context } = new MockActivityEnvironment({ retryPolicy });
    await interceptor(context).inbound!.execute!({ args: [], headers: {} }, () =>
      Promise.resolve(),
    );
  };
  return { clock, fail, delayAfter, succeed };
}

/** Has attempts at a locked product come at 20 a second, and be tried again for as long as they do. */
async function lockOut(howMany: number) {
  const tickMs = 50;
  const { clock, delayAfter } = createWorker();
  const startedAt = clock.ms;
  const lastAt = howMany * tickMs;
  const due = new Map<number, number[]>();
  const plan = (at: number, attempt: number): void => {
    const tick = Math.ceil(at / tickMs);
    due.set(tick, [...(due.get(tick) ?? []), attempt]);
  };
  for (let count = 0; count < howMany; count += 1) plan(count * tickMs, 1);
  let lately = 0;
  for (let at = 0; at < lastAt; at += tickMs) {
    clock.ms = startedAt + at;
    const attempts = due.get(at / tickMs) ?? [];
    due.delete(at / tickMs);
    for (const attempt of attempts) {
      if (attempt > 1 && at >= lastAt - 10_000) lately += 1;
      plan(at + Math.max(await delayAfter(tea, attempt), 1), attempt + 1);
    }
  }
  const waits = [...due.keys()].map((tick) => tick * tickMs - lastAt);
  return { perSecond: lately / 10, firstMs: Math.min(...waits), lastMs: Math.max(...waits) };
}

test.each([400, 3_000])('%i that wait for a row retry 20 times a second', async (howMany) => {
  const retries = await lockOut(howMany);
  expect(retries.perSecond).toBeLessThan(perSecond * 1.2);
  // Once the row is free, it is found so at once, and all others follow at this rate.
  expect(retries.firstMs).toBeLessThan(500);
  expect(retries.lastMs).toBeLessThan((howMany / perSecond) * 1_000 + 10_000);
});

test('few that wait are left to their own backoff', async () => {
  const { clock, fail } = createWorker();
  for (let attempt = 1; attempt < 10; attempt += 1) {
    clock.ms += 10_000;
    for (let waiting = 0; waiting < 5; waiting += 1) expect(await fail(tea, attempt)).toBe(tea);
  }
});

test('those that wait for one product are not in the way of another, nor of what failed otherwise', async () => {
  const { clock, fail, delayAfter } = createWorker();
  for (let second = 0; second < 60; second += 1) {
    clock.ms += 1_000;
    for (let count = 0; count < 10 * perSecond; count += 1) await fail(tea);
  }
  expect(await delayAfter(tea)).toBeGreaterThan(50_000);
  expect(await delayAfter(new ProductLockedError(['cup']))).toBe(500);
  expect(await delayAfter(new Error('away'))).toBe(500);
});

test('once an attempt has succeeded, nobody waits for those that failed before', async () => {
  const { fail, delayAfter, succeed } = createWorker();
  for (let count = 0; count < 4_000; count += 1) await fail(new Error('away'));
  await succeed();
  expect(await delayAfter(new Error('away'))).toBe(500);
});

test('what waits for PostgreSQL, or for its table, takes turns, too', async () => {
  const away = createWorker();
  for (let count = 0; count < 4_000; count += 1) await away.fail(new Error('away'));
  expect(await away.delayAfter(new Error('away'))).toBe(100_000);
  const table = createWorker();
  for (let count = 0; count < 4_000; count += 1) {
    await table.fail(new ProductLockedError([`product-${count}`]));
  }
  expect(await table.delayAfter(new ProductLockedError(['another']))).toBeGreaterThan(99_000);
});

test('nobody waits longer than ten minutes', async () => {
  const { fail, delayAfter } = createWorker();
  for (let count = 0; count < 15_000; count += 1) await fail(tea);
  expect(await delayAfter(tea)).toBe(600_000);
});

test('what is final, or cancelled, is told as it is', async () => {
  const { fail } = createWorker();
  for (let count = 0; count < 1_000; count += 1) await fail(tea);
  const final = ApplicationFailure.nonRetryable('out of range');
  const cancelled = new CancelledFailure('the worker stops');
  expect(await fail(final)).toBe(final);
  expect(await fail(cancelled)).toBe(cancelled);
});
