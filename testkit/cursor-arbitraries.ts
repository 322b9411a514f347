/** Invalid cursors, many of which resemble valid ones. */
import fc from 'fast-check';
import { writeCursor } from '../api/http/cursor';

const number = fc.oneof(
  fc.nat(30).map(String),
  fc.constantFrom(
    '4294967296',
    '9223372036854775808',
    '9999999999999999999',
    '18446744073709551616',
  ),
);

const digits = (most: number) => fc.nat(most).map((value) => String(value).padStart(2, '0'));

const time = fc
  .tuple(
    fc.constantFrom('0000', '0001', '2026', '9999', '10000', '-2026'),
    fc.tuple(digits(13), digits(32), digits(25), digits(61), digits(61)),
    fc.constantFrom('', '.5', '.1234567'),
    fc.constantFrom('+00', '-15:59:59', '+16', '+5', 'Z', '+00:60', ''),
  )
  .map(
    ([year, [month, day, hour, minute, second], fraction, offset]) =>
      `${year}-${month}-${day} ${hour}:${minute}:${second}${fraction}${offset}`,
  );

const snapshot = fc
  .tuple(number, number, fc.array(number, { maxLength: 3 }))
  .map(([first, next, running]) => `${first}:${next}:${running.join()}`);

const figure = fc.oneof(
  number,
  fc.constantFrom('-1', '1.5', '1e9', 'NaN', 'Infinity', '-', '.', '9'.repeat(41)),
);

/** Parts of such cursors. */
export const cursorParts: fc.Arbitrary<string> = fc.oneof(
  time,
  snapshot,
  figure,
  fc.constantFrom('tea', '::::', '-', '', 'infinity', 'now', '\0', '\ud800', 'a b'),
  fc.string({ unit: 'binary', maxLength: 10 }),
);

/** Texts for `cursor`, `after` and `Last-Event-ID`. */
export const cursors: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.array(cursorParts, { maxLength: 4 }).map(writeCursor) },
  // In the formats that routes expect.
  { weight: 4, arbitrary: fc.tuple(fc.oneof(time, figure), fc.constant('tea')).map(writeCursor) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('undecided', 'decided'), time, fc.constant('tea'))
      .map(writeCursor),
  },
  {
    weight: 4,
    arbitrary: fc.tuple(snapshot, snapshot, number, fc.constant('tea')).map(writeCursor),
  },
  { weight: 1, arbitrary: fc.jsonValue().map((json) => toBase64(JSON.stringify(json))) },
  { weight: 1, arbitrary: fc.base64String() },
);

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64url');
}
