import {
  bytesAsText,
  decodeBytes,
  formatCountdown,
  formatDuration,
  hexDump,
} from '../../../api/dashboard/client/format';

test.each([
  [null, '–'],
  [0, '0 ms'],
  [999.4, '999 ms'],
  [999.6, '1 s'],
  [61_000, '1 min'],
  [5_400_000, '1.5 h'],
])('a duration of %s ms is written %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test.each([
  [61_000, '1:01'],
  [1, '0:01'],
  [-5, '0:00'],
])('what lasts another %i ms is written %s', (ms, text) => {
  expect(formatCountdown(ms)).toBe(text);
});

test('bytes are shown as they are, whichever way they came', () => {
  const bytes = decodeBytes({ base64: Buffer.from([0x7b, 0, 0xff, 0x41]).toString('base64') });
  expect([...bytes]).toEqual([0x7b, 0, 0xff, 0x41]);
  expect(hexDump(bytes, 3)).toBe('0000  7b 00 ff  {··\n0003  41        A');
  expect(bytesAsText(bytes)).toBe('{␀\ufffdA');
  expect([...decodeBytes({ text: 'é' })]).toEqual([0xc3, 0xa9]);
  expect(bytesAsText(decodeBytes({ text: 'a\n\tb' }))).toBe('a\n\tb');
});
