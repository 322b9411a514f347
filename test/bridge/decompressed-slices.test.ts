import { decompressedSlices, type DecompressedSlice } from '../../bridge/decompressed-slices';
import {
  maxDecompressedBytes,
  type FetchedBatch,
  type LogEntry,
} from '../../platform/kafka/record-batch';
import { until } from '../../testkit/until';
import { record } from '../../testkit/records';

function batchOf(firstOffset: number, entries: readonly LogEntry[], bytes = 0): FetchedBatch {
  const last = entries.at(-1)!;
  const lastOffset = last.kind === 'record' ? last.offset : last.lastOffset;
  return { firstOffset, lastOffset, firstTimestamp: 0, open: () => ({ bytes, entries }) };
}

function records(from: number, count: number, value = 'v'): LogEntry[] {
  return Array.from({ length: count }, (_, index) => record({ offset: from + index, value }));
}

async function collect(slices: AsyncIterable<DecompressedSlice>) {
  const collected: [offsets: number[], next: number][] = [];
  for await (const { entries, next } of slices) {
    collected.push([entries.map(({ offset }) => offset), next]);
  }
  return collected;
}

test('many small batches come as few slices: a backlog is handled as one', async () => {
  const batches = [0, 2, 4, 6].map((first) => batchOf(first, records(first, 2)));
  expect(await collect(decompressedSlices(batches, 0, 5))).toEqual([
    [[0, 1, 2, 3, 4], 5],
    [[5, 6, 7], 8],
  ]);
});

test('what was asked for before is left out, and what readers skip is committed past', async () => {
  const skipped = { kind: 'skipped', offset: 4, lastOffset: 9 } as const;
  const batches = [batchOf(0, records(0, 4)), batchOf(4, [skipped])];
  expect(await collect(decompressedSlices(batches, 2, 10))).toEqual([[[2, 3], 10]]);
  expect(await collect(decompressedSlices(batches, 4, 10))).toEqual([[[], 10]]);
});

test('keys, values and headers bound a slice; one message may exceed the bound alone', async () => {
  const large = 'x'.repeat(3 * 1024 * 1024);
  const header = record({ offset: 1, headers: [['h', large]] });
  const batch = batchOf(0, [...records(0, 1, large), header, ...records(2, 1, large.repeat(2))]);
  expect(await collect(decompressedSlices([batch], 0, 10))).toEqual([
    [[0], 1],
    [[1], 2],
    [[2], 3],
  ]);
});

test('no more is unpacked at a time than there is memory for, whoever breaks off', async () => {
  const hold = async () => {
    const slices = decompressedSlices([batchOf(0, records(0, 2), maxDecompressedBytes)], 0, 1);
    await slices.next();
    return slices;
  };
  const holders = [await hold(), await hold(), await hold(), await hold()];
  let got = false;
  const fifth = hold().then((slices) => {
    got = true;
    return slices;
  });
  await new Promise(setImmediate);
  expect(got).toBe(false);
  await holders[0]!.return(undefined);
  await until('the fifth may unpack', () => got);
  for (const slices of [...holders.slice(1), await fifth]) await slices.return(undefined);
});
