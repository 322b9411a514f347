import fc from 'fast-check';
import { parseMessage } from '../../events/parse';
import { readEventTime } from '../../events/event-time';
import { times } from '../../testkit/event-arbitraries';
import { exampleEvent, exampleMessage } from '../../testkit/example-events';

const accepted: [text: string, instant: string][] = [
  ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000Z'],
  ['2026-01-01t00:00:00z', '2026-01-01T00:00:00.000Z'],
  ['2024-02-29T23:59:59.9Z', '2024-02-29T23:59:59.900Z'],
  ['2026-01-01T00:00:00-00:00', '2026-01-01T00:00:00.000Z'],
  ['2026-01-01T00:00:00+23:59', '2025-12-31T00:01:00.000Z'],
  ['2026-01-01T23:59:59.9999999Z', '2026-01-01T23:59:59.999Z'],
  ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
  ['9999-12-31T23:59:60Z', '9999-12-31T23:59:59.999Z'],
  // The examples of RFC 3339, section 5.8.
  ['1985-04-12T23:20:50.52Z', '1985-04-12T23:20:50.520Z'],
  ['1996-12-19T16:39:57-08:00', '1996-12-20T00:39:57.000Z'],
  ['1990-12-31T23:59:60Z', '1990-12-31T23:59:59.999Z'],
  ['1990-12-31T15:59:60-08:00', '1990-12-31T23:59:59.999Z'],
  ['1937-01-01T12:00:27.87+00:20', '1937-01-01T11:40:27.870Z'],
];

test.each(accepted)('%s is the instant %s', (text, instant) => {
  expect(readEventTime(text)?.toISOString()).toBe(instant);
});

test.each([
  ['a second 60 within a day', '2016-12-31T12:59:60Z'],
  ['a second 60 within a month', '2016-12-30T23:59:60Z'],
  ['a second 60 that ends a month elsewhere only', '2016-12-31T23:59:60+09:00'],
  ['a second 61', '2016-12-31T23:59:61Z'],
  ['hour 24', '2026-01-01T24:00:00Z'],
  ['minute 60', '2026-01-01T00:60:00Z'],
  ['a day that the month has not', '2026-02-29T00:00:00Z'],
  ['day 0', '2026-01-00T00:00:00Z'],
  ['month 13', '2026-13-01T00:00:00Z'],
  ['no seconds', '2026-01-01T00:00Z'],
  ['no offset', '2026-01-01T00:00:00'],
  ['a space', '2026-01-01 00:00:00Z'],
  ['a point without digits', '2026-01-01T00:00:00.Z'],
  ['an offset of a day', '2026-01-01T00:00:00+24:00'],
  ['an offset without a colon', '2026-01-01T00:00:00+0100'],
  ['more behind it', '2026-01-01T00:00:00Z\n'],
  ['the year 0 in UTC', '0001-01-01T00:00:00+00:01'],
  ['the year 10000 in UTC', '9999-12-31T23:59:59-00:01'],
])('%s is no time: %s', (_, text) => {
  expect(readEventTime(text)).toBeUndefined();
});

test('whatever JavaScript writes is the same instant', () => {
  fc.assert(
    fc.property(times, (time) => {
      expect(readEventTime(time.toISOString())).toEqual(time);
    }),
  );
});

test('whatever text is given, a time is a time, and an event has one or is refused', () => {
  const digits = (most: number) => fc.nat(most).map((number) => String(number).padStart(2, '0'));
  const text = fc
    .tuple(
      fc.nat(9999).map((year) => String(year).padStart(4, '0')),
      digits(13),
      digits(32),
      fc.constantFrom('T', 't', ' '),
      digits(25),
      fc.constantFrom('00', '59', '60'),
      fc.constantFrom('00', '59', '60', '61', '59.9999'),
      fc.constantFrom('Z', 'z', '+23:59', '-00:01', '+24:00', ''),
    )
    .map(([year, month, day, t, hour, minute, second, offset]) =>
      [year, '-', month, '-', day, t, hour, ':', minute, ':', second, offset].join(''),
    );
  fc.assert(
    fc.property(fc.oneof(text, fc.string()), (time) => {
      const instant = readEventTime(time);
      expect(instant?.getTime()).not.toBeNaN();
      expect(isAccepted(time)).toBe(instant !== undefined);
    }),
    { numRuns: 2_000, examples: accepted.map(([time]) => [time]) },
  );
});

function isAccepted(time: string): boolean {
  try {
    parseMessage(exampleMessage('ProductViewed', exampleEvent('ProductViewed', { time })));
    return true;
  } catch {
    return false;
  }
}
