import { setTimeout as sleep } from 'node:timers/promises';
import { shareReading } from '../../api/http/shared-reading';

test('who asks while it is read, or shortly after, gets the same answer', async () => {
  let reads = 0;
  const read = shareReading(1_000, async () => {
    reads += 1;
    await sleep(5);
    return reads;
  });
  expect(await Promise.all([read(), read(), read()])).toEqual([1, 1, 1]);
  expect(await read()).toBe(1);
});

test('an expired answer is read again', async () => {
  let reads = 0;
  const read = shareReading(0, async () => (reads += 1));
  expect([await read(), await read()]).toEqual([1, 2]);
});

test('a failure goes to the callers that wait for it, and to none after', async () => {
  let reads = 0;
  const read = shareReading(1_000, async () => {
    reads += 1;
    if (reads === 1) throw new Error('away');
    return reads;
  });
  const [one, other] = await Promise.allSettled([read(), read()]);
  expect([one.status, other.status]).toEqual(['rejected', 'rejected']);
  expect(await read()).toBe(2);
});
