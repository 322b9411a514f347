import { gzipSync } from 'node:zlib';
import { crc32c } from '@node-rs/crc32';
import fc from 'fast-check';
import {
  maxHeaders,
  readBatches,
  writeBatch,
  type LogEntry,
  type OutgoingRecord,
} from '../../platform/kafka/record-batch';

const at = {
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  producerId: 43,
  recordCount: 57,
  records: 61,
};
const transactional = 0x10;
const control = 0x20;

function plain(value: string): OutgoingRecord {
  return { key: null, value: Buffer.from(value), headers: [] };
}

/** A batch that stands at an offset, changed as the test wants it, with a checksum that fits. */
function batchAt(
  firstOffset: number,
  records: readonly OutgoingRecord[],
  change: (batch: Buffer) => void = () => undefined,
  producerId = -1n,
): Buffer {
  const batch = writeBatch(records, 1_000, { producerId, producerEpoch: 0, firstSequence: 0 });
  batch.writeBigInt64BE(BigInt(firstOffset), 0);
  change(batch);
  return seal(batch);
}

function seal(batch: Buffer): Buffer {
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeUInt32BE(crc32c(batch.subarray(at.attributes)), at.crc);
  return batch;
}

function inTransaction(firstOffset: number, value: string, producerId: bigint): Buffer {
  return batchAt(
    firstOffset,
    [plain(value)],
    (batch) => batch.writeInt16BE(transactional, at.attributes),
    producerId,
  );
}

function marker(offset: number, type: 'abort' | 'commit', producerId: bigint): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1]);
  const record = { key, value: Buffer.alloc(6), headers: [] };
  const mark = (batch: Buffer) => batch.writeInt16BE(transactional | control, at.attributes);
  return batchAt(offset, [record], mark, producerId);
}

function entriesOf(bytes: Buffer, ...more: [aborted?: never[], end?: number] | []): LogEntry[] {
  return readBatches(bytes, ...(more as [])).flatMap((batch) => [...batch.open().entries]);
}

function valuesOf(entries: readonly LogEntry[]): string[] {
  return entries.flatMap((entry) => (entry.kind === 'record' ? [String(entry.value)] : []));
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each));
const record = fc.record({
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(fc.record({ name: bytes, value: fc.option(bytes) }), { maxLength: 6 }),
});

test('what was written is read: keys, values and headers of any bytes, null apart from empty, in order', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), fc.nat(), (records, offset) => {
      expect(entriesOf(batchAt(offset, records))).toEqual(
        records.map((each, index) => ({
          kind: 'record',
          offset: offset + index,
          timestamp: 1_000,
          ...each,
        })),
      );
    }),
  );
});

test('a batch with a checksum that does not fit is one unreadable stretch, and the next is read', () => {
  const broken = batchAt(5, [plain('a'), plain('b')]);
  broken[at.records + 8]! ^= 1;
  const entries = entriesOf(Buffer.concat([broken, batchAt(7, [plain('c')])]));
  expect(entries[0]).toMatchObject({
    kind: 'unreadable',
    offset: 5,
    lastOffset: 6,
    reason: 'BROKEN_BATCH',
  });
  expect(valuesOf(entries)).toEqual(['c']);
});

test('a broken batch at the end of the log claims no offset that the log does not have', () => {
  const broken = batchAt(5, [plain('a')]);
  broken.writeInt32BE(1_000_000, at.lastOffsetDelta);
  expect(entriesOf(broken, [], 8)).toMatchObject([
    { kind: 'unreadable', offset: 5, lastOffset: 7 },
  ]);
});

test('a message of an older format is unreadable alone, whatever its bytes would say as a header', () => {
  const old = batchAt(5, [plain('a message of an older format')], (batch) =>
    batch.writeInt32BE(99, at.lastOffsetDelta),
  );
  old.writeInt8(1, 16);
  expect(entriesOf(old)).toMatchObject([{ kind: 'unreadable', offset: 5, lastOffset: 5 }]);
});

test('a batch that was cut off is left for the next fetch', () => {
  const whole = batchAt(1, [plain('a')]);
  const cut = batchAt(2, [plain('b')]).subarray(0, 65);
  expect(valuesOf(entriesOf(Buffer.concat([whole, cut])))).toEqual(['a']);
  expect(readBatches(cut)).toEqual([]);
});

test('a record that ends elsewhere than it says leaves those before it readable', () => {
  const batch = batchAt(3, [plain('first'), plain('second')], (each) => {
    each[each.length - 8] = 0x7f;
  });
  const entries = entriesOf(batch);
  expect(valuesOf(entries)).toEqual(['first']);
  expect(entries.at(-1)).toMatchObject({ kind: 'unreadable', offset: 4, lastOffset: 4 });
});

test('records beyond the number that the batch claims are not left out unseen', () => {
  const batch = batchAt(3, [plain('a'), plain('b')], (each) =>
    each.writeInt32BE(1, at.recordCount),
  );
  expect(entriesOf(batch)).toMatchObject([
    { kind: 'record', offset: 3 },
    { kind: 'unreadable', offset: 4, lastOffset: 4 },
  ]);
});

test('a record with more headers than can be read is unreadable alone', () => {
  const header = { name: Buffer.alloc(0), value: null };
  const headers = Array.from({ length: maxHeaders + 1 }, () => header);
  const entries = entriesOf(batchAt(0, [{ ...plain('a'), headers }, plain('b')]));
  expect(entries).toMatchObject([
    { kind: 'unreadable', offset: 0, lastOffset: 0, reason: 'TOO_MANY_HEADERS' },
    { kind: 'record', offset: 1 },
  ]);
});

test('a batch that cannot be unpacked, or unpacks to too much, is one unreadable stretch', () => {
  const packed = (codec: number, records: Buffer) => {
    const head = batchAt(9, [plain('a')]).subarray(0, at.records);
    const batch = Buffer.concat([head, records]);
    batch.writeInt16BE(codec, at.attributes);
    return seal(batch);
  };
  expect(entriesOf(packed(1, Buffer.from('no gzip')))).toMatchObject([
    { kind: 'unreadable', offset: 9, reason: 'CANNOT_UNPACK' },
  ]);
  const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024));
  expect(entriesOf(packed(1, bomb))).toMatchObject([
    { kind: 'unreadable', offset: 9, reason: 'UNPACKS_TOO_LARGE' },
  ]);
});

describe('of transactions', () => {
  const [a, b] = [1n, 2n];
  const both = [
    { producerId: b, firstOffset: 0n },
    { producerId: a, firstOffset: 1n },
  ];

  test('two that overlap and are aborted leave nothing, also when the one that began later ends first', () => {
    const log = [
      inTransaction(0, 'of b', b),
      inTransaction(1, 'of a', a),
      marker(2, 'abort', a),
      marker(3, 'abort', b),
    ];
    const entries = readBatches(Buffer.concat(log), both).flatMap((each) => [
      ...each.open().entries,
    ]);
    expect(entries.map(({ kind }) => kind)).toEqual(['skipped', 'skipped', 'skipped', 'skipped']);
  });

  test('one that is committed beside an aborted one is read', () => {
    const log = [
      inTransaction(0, 'of b', b),
      inTransaction(1, 'of a', a),
      marker(2, 'abort', a),
      marker(3, 'commit', b),
    ];
    const entries = readBatches(Buffer.concat(log), [both[1]!]).flatMap((each) => [
      ...each.open().entries,
    ]);
    expect(valuesOf(entries)).toEqual(['of b']);
  });

  test('what the same producer sends behind its aborted one is read', () => {
    const log = [inTransaction(1, 'void', a), marker(2, 'abort', a), inTransaction(3, 'valid', a)];
    const entries = readBatches(Buffer.concat(log), [both[1]!]).flatMap((each) => [
      ...each.open().entries,
    ]);
    expect(valuesOf(entries)).toEqual(['valid']);
  });
});

test('any bytes can be read, and every offset of a batch is in exactly one entry', () => {
  const damaged = fc
    .tuple(
      fc.array(record, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      fc.nat({ max: 255 }),
      fc.boolean(),
    )
    .map(([records, place, byte, sealed]) => {
      const batch = batchAt(7, records);
      batch[16 + (place % (batch.length - 16))] = byte;
      return sealed ? seal(batch) : batch;
    });
  fc.assert(
    fc.property(fc.oneof(damaged, bytes), (log) => {
      for (const batch of readBatches(log, [], 1_000)) {
        let next = batch.firstOffset;
        for (const entry of batch.open().entries) {
          expect(entry.offset).toBe(next);
          next = (entry.kind === 'record' ? entry.offset : entry.lastOffset) + 1;
        }
        expect(next).toBe(batch.lastOffset + 1);
      }
    }),
    { numRuns: 500 },
  );
});
