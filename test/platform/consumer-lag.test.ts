import { toLag } from '../../platform/kafka/consumer-lag';

const where = { topic: 'catalog-events', partition: 0 };
const log = { ...where, start: 10, end: 20, stableEnd: 20 };

test.each<[what: string, committed: number | null, lag: number]>([
  ['a group in the middle of the log', 15, 5],
  ['a group at its end', 20, 0],
  ['a group that has committed nothing', null, 10],
  ['a group whose next message retention has deleted', 3, 10],
  ['a group that is beyond the end of a topic made anew', 700, 10],
])('%s is behind by what it will read', (_what, committed, lag) => {
  expect(toLag(log, committed)).toEqual({ ...where, committed, start: 10, end: 20, lag });
});

test('a group that has reached an open transaction is blocked by it', () => {
  expect(toLag({ ...log, stableEnd: 16 }, 15)).not.toHaveProperty('heldBackBy');
  expect(toLag({ ...log, stableEnd: 16 }, 16)).toMatchObject({ heldBackBy: 'open-transaction' });
  expect(toLag(log, 20)).not.toHaveProperty('heldBackBy');
});

test('the age of the first message is reported only where one waits', () => {
  expect(toLag({ ...log, nextAt: 42 }, 15)).toMatchObject({ oldestUncommittedAt: 42 });
  expect(toLag({ ...log, nextAt: 42 }, 20)).not.toHaveProperty('oldestUncommittedAt');
});
