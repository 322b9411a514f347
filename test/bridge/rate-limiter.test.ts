import { createRateLimiter } from '../../bridge/rate-limiter';

const { signal } = new AbortController();

test('without a bound, slices are as large as they are, and nothing waits', async () => {
  const limiter = createRateLimiter(() => undefined);
  expect(limiter.sliceSize(2_000)).toBe(2_000);
  expect(await limiter.take(1_000_000, signal)).toBe(true);
  expect(await limiter.take(1_000_000, signal)).toBe(true);
});

test.each([
  [50.9, 50],
  [0.25, 1],
  [5_000, 100],
])('at %d messages a second, a slice of up to 100 has %d', (perSecond, expected) => {
  expect(createRateLimiter(() => perSecond).sliceSize(100)).toBe(expected);
});

test('no more is taken than the bound allows', async () => {
  const limiter = createRateLimiter(() => 100);
  const from = performance.now();
  for (let slice = 0; slice < 4; slice += 1) expect(await limiter.take(10, signal)).toBe(true);
  // The first is taken at once; a timer may be early by a millisecond.
  expect(performance.now() - from).toBeGreaterThanOrEqual(297);
});

test('whoever waits while the bound changes takes nothing, and may take it again at once', async () => {
  let perSecond: number | undefined = 1;
  const limiter = createRateLimiter(() => perSecond);
  await limiter.take(3_600, signal);
  const waiting = limiter.take(1, signal);
  perSecond = undefined;
  expect(await waiting).toBe(false);
  expect(await limiter.take(1, signal)).toBe(true);
});

test('an aborted wait takes nothing', async () => {
  const limiter = createRateLimiter(() => 1);
  await limiter.take(3_600, signal);
  const aborted = new AbortController();
  const waiting = limiter.take(1, aborted.signal);
  aborted.abort(new Error('revoked'));
  await expect(waiting).rejects.toThrow('revoked');
});

test('whoever gives up leaves its time to those behind it', async () => {
  const limiter = createRateLimiter(() => 10);
  await limiter.take(1, signal);
  const aborted = new AbortController();
  const givenUp = Array.from({ length: 100 }, () => limiter.take(10, aborted.signal));
  const waiting = limiter.take(1, signal);
  aborted.abort(new Error('revoked'));

  expect((await Promise.allSettled(givenUp)).map(({ status }) => status)).toEqual(
    givenUp.map(() => 'rejected'),
  );
  const from = performance.now();
  expect(await waiting).toBe(true);
  expect(performance.now() - from).toBeLessThan(5_000);
});
