/** A spool's file is read up to its last whole group, whatever has become of its end. */
import fc from 'fast-check';
import { decodeFrames, encodeFrame } from '../../platform/disk/frames';

const line = fc.string({ unit: 'binary', minLength: 1 }).filter((text) => !text.includes('\n'));
const groups = fc.array(fc.array(line, { minLength: 1, maxLength: 5 }), { maxLength: 6 });

/** Lines as they come back: a surrogate without its other half cannot be UTF-8. */
const asUtf8 = (text: string): string => Buffer.from(text).toString();

test('what was written is read, in its order', () => {
  fc.assert(
    fc.property(groups, (written) => {
      const bytes = Buffer.concat(written.map(encodeFrame));
      expect(decodeFrames(bytes)).toEqual({
        lines: written.flat().map(asUtf8),
        damagedGroups: 0,
        tornBytes: 0,
      });
    }),
  );
});

test('of a file that was torn anywhere the groups before that are read', () => {
  fc.assert(
    fc.property(groups, fc.nat(), (written, where) => {
      const frames = written.map(encodeFrame);
      const bytes = Buffer.concat(frames);
      const torn = bytes.subarray(0, where % (bytes.length + 1));
      const { lines, tornBytes } = decodeFrames(torn);
      let end = 0;
      const whole = frames.findIndex((frame) => (end += frame.length) > torn.length);
      const expected = whole < 0 ? written : written.slice(0, whole);
      expect(lines).toEqual(expected.flat().map(asUtf8));
      const wholeBytes = Buffer.concat(frames.slice(0, expected.length)).length;
      expect(tornBytes).toBe(torn.length - wholeBytes);
    }),
  );
});

test('a flipped bit costs its group, and what follows only where it is in the length', () => {
  fc.assert(
    fc.property(groups, fc.nat(), fc.nat(7), (written, where, bit) => {
      const frames = written.map(encodeFrame);
      const bytes = Buffer.concat(frames);
      fc.pre(bytes.length > 0);
      const at = where % bytes.length;
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
      let end = 0;
      const damaged = frames.findIndex((frame) => (end += frame.length) > at);
      const { lines, damagedGroups, tornBytes } = decodeFrames(bytes);
      const before = written.slice(0, damaged).flat().map(asUtf8);
      expect(lines.slice(0, before.length)).toEqual(before);
      expect(damagedGroups + tornBytes).toBeGreaterThan(0);
      const isInLength = at < end - frames[damaged]!.length + 4;
      if (isInLength) return;
      expect(lines).toEqual(written.toSpliced(damaged, 1).flat().map(asUtf8));
    }),
  );
});

test('zeros at the end, as a power cut leaves them, are no records', () => {
  const frame = encodeFrame(['one']);
  const bytes = Buffer.concat([frame, Buffer.alloc(4096)]);
  expect(decodeFrames(bytes)).toEqual({ lines: ['one'], damagedGroups: 0, tornBytes: 4096 });
});
