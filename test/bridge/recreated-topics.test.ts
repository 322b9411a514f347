import { createRecreatedTopicWatch } from '../../bridge/recreated-topics';

function lagOf(committed: number | null, end: number, partition = 0) {
  return { topic: 'catalog-events', partition, committed, start: 0, end, lag: 0 };
}

test('a group that moves on, and one that has never committed, are left alone', () => {
  const watch = createRecreatedTopicWatch();
  expect(watch.observe([lagOf(null, 0), lagOf(3, 5, 1)])).toEqual([]);
  expect(watch.observe([lagOf(null, 2), lagOf(5, 5, 1)])).toEqual([]);
  expect(watch.observe([lagOf(2, 2), lagOf(5, 9, 1)])).toEqual([]);
});

test('a topic whose commits are lost was recreated, also after a poll in which it was missing', () => {
  const watch = createRecreatedTopicWatch();
  watch.observe([lagOf(1, 1)]);
  expect(watch.observe([])).toEqual([]);
  expect(watch.observe([lagOf(null, 1)])).toEqual(['catalog-events']);
  expect(watch.observe([lagOf(null, 1)])).toEqual([]);
});

test('a log that ends before its previous end was truncated or recreated', () => {
  const watch = createRecreatedTopicWatch();
  watch.observe([lagOf(null, 7)]);
  expect(watch.observe([lagOf(null, 2)])).toEqual(['catalog-events']);
});
