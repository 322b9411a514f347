import { performance } from 'node:perf_hooks';
import { createRateLimiter, createTopicRates } from '../../bridge/rate-limiter';
import { pause } from '../../platform/process/waiting';

const { signal } = new AbortController();

afterEach(() => jest.restoreAllMocks());

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

describe('a bound of a topic', () => {
  test('bounds its slices, and no other topic', () => {
    const rates = createTopicRates((topic) => (topic === 'slow' ? 10 : undefined));
    expect(['slow', 'other'].map((topic) => rates(topic).sliceSize(100))).toEqual([10, 100]);
    for (let slice = 0; slice < 3; slice += 1) expect(rates('other').take(0, 1_000)).toBe(0);
  });

  test('gives each partition its time, in the order in which they ask, and never sooner', () => {
    const { take } = createTopicRates(() => 10)('slow');
    expect(take(0, 10)).toBe(0);
    const waits = [1, 2, 0].map((partition) => Math.ceil(take(partition, 10) / 1_000));
    expect(waits).toEqual([1, 2, 3]);
    // Who asks again before its time gets no later one.
    expect([1, 2, 0].map((partition) => Math.ceil(take(partition, 10) / 1_000))).toEqual(waits);
  });

  test('is kept by partitions that come when they are told to', async () => {
    const { take } = createTopicRates(() => 200)('slow');
    const from = performance.now();
    let taken = 0;
    const consume = async (partition: number): Promise<void> => {
      for (let slice = 0; slice < 5; slice += 1) {
        for (let waitMs = take(partition, 10); waitMs > 0; waitMs = take(partition, 10)) {
          await pause(waitMs, signal);
        }
        taken += 10;
      }
    };
    await Promise.all([0, 1, 2].map(consume));
    expect(taken).toBe(150);
    // All but the first slice wait.
    expect(performance.now() - from).toBeGreaterThanOrEqual(695);
  });

  test('gives no time to partitions that come long after theirs: together they would be more than it allows', () => {
    const now = jest.spyOn(performance, 'now').mockReturnValue(10_000);
    const { take } = createTopicRates(() => 10)('slow');
    expect([0, 1, 2].map((partition) => take(partition, 10))).toEqual([0, 1_000, 2_000]);
    now.mockReturnValue(60_000);
    expect([1, 2].map((partition) => take(partition, 10))).toEqual([0, 1_000]);
  });

  test('that is lifted or changed holds from then on', () => {
    let perSecond: number | undefined = 1;
    const { take } = createTopicRates(() => perSecond)('slow');
    take(0, 3_600);
    expect(take(1, 1)).toBeGreaterThan(1_000_000);
    perSecond = undefined;
    expect(take(1, 1)).toBe(0);
    perSecond = 2;
    expect(take(1, 1)).toBe(0);
  });
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
