/** Of a spool's file every whole group is read, whatever has become of the others. */
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
        damagedBytes: 0,
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

type Damage = (bytes: Buffer, from: number, to: number) => void;

const damages: Readonly<Record<string, Damage>> = {
  zeros: (bytes, from, to) => bytes.fill(0, from, to),
  ones: (bytes, from, to) => bytes.fill(0xff, from, to),
  'flipped bits': (bytes, from, to) => {
    for (let at = from; at < to; at += 1) bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  },
  // Lengths that lead into the file, up to its end and beyond it.
  lengths: (bytes, from, to) => bytes.fill(Buffer.from([0, 0, 0, 9]), from, to),
};

test.each(Object.keys(damages))(
  'damage at any place (%s) costs the groups that it touches, and no other',
  (kind) => {
    fc.assert(
      fc.property(groups, fc.nat(), fc.nat(30), (written, where, howMany) => {
        const frames = written.map(encodeFrame);
        const whole = Buffer.concat(frames);
        fc.pre(whole.length > 0);
        const from = where % whole.length;
        const to = Math.min(from + 1 + howMany, whole.length);
        const bytes = Buffer.from(whole);
        damages[kind]!(bytes, from, to);
        let end = 0;
        const untouched = frames.map((frame) => {
          const at = end;
          end += frame.length;
          return bytes.subarray(at, end).equals(frame);
        });
        const { lines, damagedGroups, damagedBytes, tornBytes } = decodeFrames(bytes);
        expect(lines).toEqual(
          written
            .filter((_, index) => untouched[index])
            .flat()
            .map(asUtf8),
        );
        // One stretch, with all that is lost.
        const lost = frames.filter((_, index) => !untouched[index]);
        expect(damagedBytes + tornBytes).toBe(Buffer.concat(lost).length);
        const isWithin = lost.length > 0 && untouched.at(-1) === true;
        expect(damagedGroups).toBe(isWithin ? 1 : 0);
      }),
    );
  },
);

test('a page of zeros in the middle costs no group behind it', () => {
  const frames = Array.from({ length: 2_000 }, (_, index) => encodeFrame([`{"view":${index}}`]));
  const bytes = Buffer.concat(frames);
  bytes.fill(0, 8_192, 12_288);
  const { lines, damagedGroups, damagedBytes, tornBytes } = decodeFrames(bytes);
  expect(lines.at(-1)).toBe('{"view":1999}');
  expect(lines.length).toBeGreaterThan(2_000 - 4_096 / frames[0]!.length - 2);
  expect({ damagedGroups, tornBytes }).toEqual({ damagedGroups: 1, tornBytes: 0 });
  expect(damagedBytes).toBeLessThan(4_096 + 100);
});

test('a file of nothing but lengths is given up in time', () => {
  const bytes = Buffer.alloc(2 * 1024 * 1024, Buffer.from([0, 0x0f]));
  const startedAt = performance.now();
  expect(decodeFrames(bytes)).toEqual({
    lines: [],
    damagedGroups: 0,
    damagedBytes: 0,
    tornBytes: bytes.length,
  });
  // All of it would take minutes.
  expect(performance.now() - startedAt).toBeLessThan(10_000);
});

test('ones over a checksum and its text, which is their checksum, are no record', () => {
  const bytes = Buffer.concat([encodeFrame(['four']), encodeFrame(['behind'])]);
  bytes.fill(0xff, 4, 12);
  expect(decodeFrames(bytes)).toEqual({
    lines: ['behind'],
    damagedGroups: 1,
    damagedBytes: 12,
    tornBytes: 0,
  });
});

test('zeros at the end, as a power cut leaves them, are no records', () => {
  const frame = encodeFrame(['one']);
  const bytes = Buffer.concat([frame, Buffer.alloc(4096)]);
  expect(decodeFrames(bytes)).toEqual({
    lines: ['one'],
    damagedGroups: 0,
    damagedBytes: 0,
    tornBytes: 4096,
  });
});
