import { countOf, createOutput, formatCount, table } from '../../ops/output';

test('a table has a line of titles and a line a row, with a dash for nothing', () => {
  const rows = [
    { name: 'first', count: 7 },
    { name: 'second', count: 1234 },
    { name: null, count: 0 },
  ];
  const text = table(rows, [
    { title: 'name', of: ({ name }) => name },
    { title: 'count', of: ({ count }) => count, align: 'right' },
  ]);
  expect(text.split('\n')).toEqual([
    'name    count',
    'first       7',
    'second   1234',
    '–           0',
  ]);
});

test('counts are written for people', () => {
  expect(formatCount(1234567)).toBe('1,234,567');
  expect([0, 1, 2].map((count) => countOf(count, 'event'))).toEqual([
    '0 events',
    '1 event',
    '2 events',
  ]);
});

test('a result is one JSON value for programs, and text without colours where there is no terminal', () => {
  const write = jest.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    createOutput({ json: true }).result({ answer: 42 }, () => 'never');
    const output = createOutput({ json: false });
    output.result({ answer: 42 }, () => output.paint('red', 'forty-two'));
    const [[json], [text]] = write.mock.calls as unknown as [[string], [string]];
    expect(JSON.parse(json)).toEqual({ answer: 42 });
    expect(text).toBe('forty-two\n');
  } finally {
    write.mockRestore();
  }
});
