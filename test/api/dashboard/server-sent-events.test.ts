import fc from 'fast-check';
import { createEventReader } from '../../../api/dashboard/client/server-sent-events';

const text =
  'retry: 1000\nid: 1\nevent: handled\ndata: {"a":1}\n\n: a comment\n\ndata:two\r\ndata: lines\r\n\r\nid: 3\revent: x\rdata\r\r';
const events = [
  { type: 'handled', data: '{"a":1}', id: '1' },
  { type: 'message', data: 'two\nlines' },
  { type: 'x', data: '', id: '3' },
];

test('events are read, whatever pieces they come in', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 8 }), (cuts) => {
      const places = [0, ...cuts.toSorted((one, other) => one - other), text.length];
      const read = createEventReader();
      const found = places.slice(1).flatMap((end, index) => read(text.slice(places[index], end)));
      // The last line's end may be the first half of a longer one.
      expect([...found, ...read('\n')]).toEqual(events);
    }),
  );
});

test('an incomplete event is not delivered', () => {
  expect(createEventReader()('data: half\n')).toEqual([]);
});
