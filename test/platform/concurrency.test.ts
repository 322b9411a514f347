import { forEachConcurrently } from '../../platform/process/concurrency';

test('every item is worked on once, never more than the limit at a time', async () => {
  const items = Array.from({ length: 50 }, (_, index) => index);
  const done: number[] = [];
  let underWay = 0;
  let most = 0;
  await forEachConcurrently(items, 4, async (item) => {
    underWay += 1;
    most = Math.max(most, underWay);
    await new Promise(setImmediate);
    underWay -= 1;
    done.push(item);
  });
  expect(done.toSorted((one, other) => one - other)).toEqual(items);
  expect(most).toBe(4);
});

test('after a failure nothing more is started, what is in flight finishes, and the failure is thrown', async () => {
  const begun: number[] = [];
  const finished: number[] = [];
  const working = forEachConcurrently([1, 2, 3, 4, 5, 6], 2, async (item) => {
    begun.push(item);
    if (item === 3) throw new Error('three');
    await new Promise(setImmediate);
    finished.push(item);
  });
  await expect(working).rejects.toThrow('three');
  expect(finished).toEqual(begun.filter((item) => item !== 3));
  expect(begun.length).toBeLessThan(6);
});

test('nothing to do is done at once', async () => {
  await forEachConcurrently([], 3, () => Promise.reject(new Error('never')));
});
