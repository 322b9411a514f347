import fc from 'fast-check';
import { z } from 'zod';
import { readCursor, writeCursor } from '../../api/cursor';

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
