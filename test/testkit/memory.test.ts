import { judgeMemory, type Memory } from '../../testkit/memory';

function samples(...mebibytes: number[]): Memory[] {
  return mebibytes.map((each) => ({ bridge: { pid: 1, mebibytes: each } }));
}

test('a process that fills its caches and then keeps its memory is flat', () => {
  const { seen, problems } = judgeMemory(samples(100, 125, 130, 131, 130, 132, 131, 130, 131));
  expect(seen).toEqual(['bridge 131 MiB, then 131 MiB (9 samples)']);
  expect(problems).toEqual([]);
});

test('a process that keeps growing is not flat', () => {
  const { problems } = judgeMemory(samples(100, 120, 140, 160, 180, 200, 220, 240, 260));
  expect(problems).toEqual(['bridge grows']);
});

test('a process that was replaced is not taken for the same one', () => {
  const replaced = { bridge: { pid: 2, mebibytes: 400 } };
  const { problems } = judgeMemory([...samples(...Array<number>(9).fill(100)), replaced]);
  expect(problems).toEqual([]);
});

test('a process that lived too short to tell is not said to be flat', () => {
  expect(judgeMemory(samples(100, 100))).toEqual({ seen: [], problems: [] });
});
