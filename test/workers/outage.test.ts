import { MockActivityEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityInterceptorsFactory } from '@temporalio/worker';
import {
  createOutage,
  isRetryable,
  keepingSlots,
  sparingWorkflowTasks,
} from '../../workers/outage';

const away = new Error('away');

/** Runs an attempt of `evictCache` behind an interceptor. */
function attempt(
  interceptor: ActivityInterceptorsFactory,
  work: () => Promise<unknown>,
  { isLocal = false } = {},
): { readonly ended: Promise<unknown>; cancel(): void } {
  const environment = new MockActivityEnvironment({ isLocal, activityType: 'evictCache' });
  const { inbound } = interceptor(environment.context);
  const input = { args: [], headers: {} };
  const ended = environment.run(() => inbound?.execute?.(input, work) ?? work());
  return { ended, cancel: () => environment.cancel() };
}

async function failing(): Promise<never> {
  throw away;
}

async function settled(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => error);
}

/** An outage that has been noticed. */
async function noticed(now: () => number = Date.now) {
  const outage = createOutage(isRetryable, now);
  for (let tries = 0; tries < 3; tries += 1) await settled(outage.attempt(failing));
  return outage;
}

describe('an outage', () => {
  test('is one only after several failures in a row, and until one attempt succeeds', async () => {
    const outage = createOutage(isRetryable);
    for (const isOngoing of [false, false, true]) {
      await settled(outage.attempt(failing));
      expect(outage.isOngoing()).toBe(isOngoing);
    }
    await outage.attempt(async () => undefined);
    expect(outage.isOngoing()).toBe(false);
  });

  test('is forgotten when nothing has failed for a while: then the next attempt tells', async () => {
    let now = 0;
    const outage = await noticed(() => now);
    expect(outage.isOngoing()).toBe(true);
    now = 60_000;
    expect(outage.isOngoing()).toBe(false);
  });

  test('is not what refuses one attempt for good', async () => {
    const outage = createOutage(isRetryable);
    const refused = ApplicationFailure.nonRetryable('refused');
    for (let tries = 0; tries < 5; tries += 1) {
      await settled(outage.attempt(() => Promise.reject(refused)));
    }
    expect(outage.isOngoing()).toBe(false);
  });
});

describe('within a workflow task', () => {
  test('nothing is tried during an outage, so that the task is over at once', async () => {
    const interceptor = sparingWorkflowTasks(await noticed(), ['evictCache']);
    const work = jest.fn(failing);
    await expect(attempt(interceptor, work, { isLocal: true }).ended).rejects.toMatchObject({
      type: 'KNOWN_TO_BE_AWAY',
      nonRetryable: true,
    });
    expect(work).not.toHaveBeenCalled();
    // The ordinary activity is what finds out that it is over.
    expect(await attempt(interceptor, async () => 'done').ended).toBe('done');
    expect(await attempt(interceptor, async () => 'done', { isLocal: true }).ended).toBe('done');
  });

  test('what does not call the server is tried as ever', async () => {
    const interceptor = sparingWorkflowTasks(await noticed(), ['chargeOrder']);
    expect(await attempt(interceptor, async () => 'done', { isLocal: true }).ended).toBe('done');
  });
});

describe('an attempt that keeps its slot', () => {
  const patience = { patienceMs: 60_000, pauseMs: 20 };

  test('tries again by itself until the server is back', async () => {
    const outage = await noticed();
    let isBack = false;
    const work = jest.fn(async () => (isBack ? 'done' : failing()));
    const { ended } = attempt(keepingSlots(outage, patience), work);
    while (work.mock.calls.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    isBack = true;
    expect(await ended).toBe('done');
  });

  test('goes on at once when another finds the server back', async () => {
    const outage = await noticed();
    let isBack = false;
    const work = async () => (isBack ? 'done' : failing());
    const waiting = attempt(keepingSlots(outage, { ...patience, pauseMs: 50_000 }), work);
    await new Promise((resolve) => setImmediate(resolve));
    isBack = true;
    await outage.attempt(async () => undefined);
    expect(await waiting.ended).toBe('done');
  });

  test('gives it up when its time is over', async () => {
    const { ended } = attempt(
      keepingSlots(await noticed(), { patienceMs: 100, pauseMs: 20 }),
      failing,
    );
    await expect(ended).rejects.toBe(away);
  });

  test('gives it up at once where it is the only one that fails', async () => {
    const outage = createOutage(isRetryable);
    const { ended } = attempt(keepingSlots(outage, { ...patience, pauseMs: 50_000 }), failing);
    await expect(ended).rejects.toBe(away);
  });

  test('gives it up when it is cancelled, as by a worker that stops', async () => {
    const work = jest.fn(failing);
    const interceptor = keepingSlots(await noticed(), { ...patience, pauseMs: 50_000 });
    const { ended, cancel } = attempt(interceptor, work);
    const outcome = settled(ended);
    await new Promise((resolve) => setImmediate(resolve));
    cancel();
    expect(await outcome).toBeInstanceOf(Error);
    expect(work.mock.calls.length).toBeLessThanOrEqual(2);
  });
});
