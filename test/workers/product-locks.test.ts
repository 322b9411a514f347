import { CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DatabaseError } from 'pg';
import { boundingProductLocks, createProductLocks } from '../../workers/product-locks';

/** An attempt that ends when it is told to. */
function createAttempt() {
  let end: () => void = () => undefined;
  let begun = false;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const work = (): Promise<void> => {
    begun = true;
    return ended;
  };
  return { work, end, hasBegun: () => begun };
}

async function timesOut(): Promise<never> {
  const error = new DatabaseError('canceling statement due to lock timeout', 0, 'error');
  error.code = '55P03';
  throw error;
}

const nothing = async (): Promise<void> => undefined;
const locked = { code: 'PRODUCT_LOCKED' };
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('attempts at one product wait for each other; those at others do not', async () => {
  const locks = createProductLocks({ attemptsAtOnce: 1 });
  const [first, second] = [createAttempt(), createAttempt()];
  const both = [first, second].map(({ work }) => locks.attempt(['tea'], work));
  await locks.attempt(['cup'], nothing);
  expect(second.hasBegun()).toBe(false);
  first.end();
  await settle();
  expect(second.hasBegun()).toBe(true);
  second.end();
  await Promise.all(both);
});

test('after a lock was not to be had, attempts fail at once until one at a time finds it free', async () => {
  let now = 0;
  const locks = createProductLocks({ pauseMs: 1_000, now: () => now });
  await expect(locks.attempt(['tea'], timesOut)).rejects.toMatchObject(locked);
  await expect(locks.attempt(['cup', 'tea'], nothing)).rejects.toMatchObject(locked);
  now = 1_000;
  const probe = createAttempt();
  const probing = locks.attempt(['tea'], probe.work);
  await settle();
  expect(probe.hasBegun()).toBe(true);
  await expect(locks.attempt(['tea'], nothing)).rejects.toMatchObject(locked);
  probe.end();
  await probing;
  await locks.attempt(['tea'], nothing);
});

test('of several products those count as locked that are, and the others are free', async () => {
  const asked: (readonly string[])[] = [];
  const findLocked = async (productIds: readonly string[]) => {
    asked.push(productIds);
    return ['tea'];
  };
  const locks = createProductLocks({ findLocked });
  await expect(locks.attempt(['tea', 'cup'], timesOut)).rejects.toMatchObject({
    ...locked,
    message: expect.stringContaining('a change of tea needs') as string,
  });
  await locks.attempt(['cup'], nothing);
  await expect(locks.attempt(['tea'], nothing)).rejects.toMatchObject(locked);
  // Of one product nobody has to ask.
  await expect(locks.attempt(['pot'], timesOut)).rejects.toMatchObject(locked);
  expect(asked).toEqual([['cup', 'tea']]);
});

test('of several products all count as locked when nobody can tell which is', async () => {
  const locks = createProductLocks({ findLocked: timesOut });
  await expect(locks.attempt(['tea', 'cup'], timesOut)).rejects.toMatchObject(locked);
  for (const productId of ['tea', 'cup']) {
    await expect(locks.attempt([productId], nothing)).rejects.toMatchObject(locked);
  }
});

test('an attempt that waits for room ends when it is cancelled, and those behind it go on', async () => {
  const locks = createProductLocks({ attemptsAtOnce: 1 });
  const [first, cancelled, last] = [createAttempt(), createAttempt(), createAttempt()];
  const cancelling = new AbortController();
  const running = locks.attempt(['tea'], first.work);
  const waiting = locks.attempt(['tea'], cancelled.work, cancelling.signal);
  const behind = locks.attempt(['tea'], last.work);
  await settle();
  cancelling.abort(new Error('cancelled'));
  await expect(waiting).rejects.toThrow('cancelled');
  first.end();
  last.end();
  await Promise.all([running, behind]);
  expect(cancelled.hasBegun()).toBe(false);
});

test.each([0, 1, 2, 3, 4, 5, 6, 7, 8])(
  'whoever is cancelled about when its turn comes leaves it to the next (%i)',
  async (microtasks) => {
    const locks = createProductLocks({ attemptsAtOnce: 1 });
    const first = createAttempt();
    const cancelling = new AbortController();
    const running = locks.attempt(['tea'], first.work);
    const waiting = locks.attempt(['tea'], nothing, cancelling.signal).catch(() => undefined);
    const behind = locks.attempt(['tea'], nothing);
    await settle();
    first.end();
    for (let passed = 0; passed < microtasks; passed += 1) await Promise.resolve();
    cancelling.abort(new Error('cancelled'));
    await Promise.all([running, waiting, behind]);
  },
);

test('those that wait for a product are told when it is locked', async () => {
  const locks = createProductLocks({ attemptsAtOnce: 1 });
  const ended = [timesOut, nothing, nothing].map((work) => locks.attempt(['tea'], work));
  await Promise.all(ended.map((each) => expect(each).rejects.toMatchObject(locked)));
});

test('another failure says nothing of the lock', async () => {
  const locks = createProductLocks();
  const failure = new Error('unavailable');
  await expect(locks.attempt(['tea'], () => Promise.reject(failure))).rejects.toBe(failure);
  await locks.attempt(['tea'], nothing);
});

test('an activity that waits for room ends when it is cancelled', async () => {
  const locks = createProductLocks({ attemptsAtOnce: 1 });
  const first = createAttempt();
  const running = locks.attempt(['tea'], first.work);
  const environment = new MockActivityEnvironment({ activityType: 'changeStock' });
  const { inbound } = boundingProductLocks(locks)(environment.context);
  const ended = environment.run(() =>
    inbound!.execute!({ args: [{ productId: 'tea' }], headers: {} }, nothing),
  );
  const refused = expect(ended).rejects.toThrow(CancelledFailure);
  environment.cancel('TIMED_OUT');
  await refused;
  first.end();
  await running;
});

test.each([true, false])(
  'a local attempt at a locked product is the last (%s)',
  async (isLocal) => {
    const environment = new MockActivityEnvironment({ isLocal, activityType: 'reserveStock' });
    const { inbound } = boundingProductLocks(createProductLocks())(environment.context);
    const request = { userId: 'ann', items: [{ productId: 'tea', quantity: 1 }] };
    const ended = environment.run(() =>
      inbound!.execute!({ args: ['order', request], headers: {} }, timesOut),
    );
    await expect(ended).rejects.toMatchObject(
      isLocal ? { nonRetryable: true, type: 'PRODUCT_LOCKED' } : locked,
    );
  },
);
