import fc from 'fast-check';
import { z } from 'zod';
import {
  figurePart,
  readCursor,
  snapshotPart,
  timestampPart,
  transactionPart,
  writeCursor,
} from '../../api/http/cursor';
import { Problem } from '../../api/http/problem';
import { cursorParts, cursors } from '../../testkit/cursor-arbitraries';

const twoTexts = [z.string(), z.string()] as const;

test('a cursor gives its position again', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      expect(readCursor(writeCursor([one, other]), twoTexts, 'after')).toEqual([one, other]);
    }),
  );
});

test.each([
  ['nothing', ''],
  ['no JSON', Buffer.from('tea').toString('base64url')],
  ['another shape', Buffer.from('{"0":"a","1":"b"}').toString('base64url')],
  ['too few parts', writeCursor(['a'])],
  ['too many parts', writeCursor(['a', 'b', 'c'])],
  ['a part of another type', Buffer.from('["a",1]').toString('base64url')],
])('%s is refused by the name of the parameter', (_, cursor) => {
  expect(() => readCursor(cursor, twoTexts, 'after')).toThrow(
    expect.objectContaining({ status: 400, errors: [expect.objectContaining({ field: 'after' })] }),
  );
});

describe('a part for PostgreSQL lets through what PostgreSQL reads', () => {
  test.each([
    ['2026-11-27 00:15:31.123456+00', timestampPart],
    ['0001-01-01 00:00:00-15:59:59', timestampPart],
    ['2024-02-29 23:59:59+05:30', timestampPart],
    ['-12', figurePart],
    ['1.00000000000000000001', figurePart],
    ['10:20:10,12,19', snapshotPart],
    ['10:10:', snapshotPart],
    ['9999999999999999999', transactionPart],
  ])('%s', (text, part) => {
    expect(readCursor(writeCursor([text]), [part], 'after')).toEqual([text]);
  });
});

describe('a part for PostgreSQL rejects what PostgreSQL rejects', () => {
  test.each([
    ['::::', timestampPart],
    ['2026-02-30 00:00:00+00', timestampPart],
    ['2026-01-01 24:00:01+00', timestampPart],
    ['2026-01-01 00:00:61+00', timestampPart],
    ['2026-01-01 00:00:00+16', timestampPart],
    ['0000-01-01 00:00:00+00', timestampPart],
    ['2026-01-01 00:00:00', timestampPart],
    ['infinity', timestampPart],
    ['NaN', figurePart],
    ['1e9', figurePart],
    ['-', figurePart],
    ['20:10:', snapshotPart],
    ['0:10:', snapshotPart],
    ['4294967296:4294967297:', snapshotPart],
    ['10:20:20', snapshotPart],
    ['10:20:9', snapshotPart],
    ['10:20:12,11', snapshotPart],
    ['18446744073709551616', transactionPart],
  ])('%s', (text, part) => {
    expect(() => readCursor(writeCursor([text]), [part], 'after')).toThrow(Problem);
  });
});

test('whatever text comes as a cursor is read or is a 400', () => {
  const parts = [timestampPart, figurePart, snapshotPart, transactionPart] as const;
  const anyCursor = fc.oneof(
    fc.string({ unit: 'binary' }),
    cursors,
    cursorParts.map((part) => writeCursor([part])),
  );
  fc.assert(
    fc.property(anyCursor, fc.nat(3), (cursor, index) => {
      try {
        readCursor(cursor, [parts[index]!], 'after');
      } catch (error) {
        expect(error).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
      }
    }),
  );
});
