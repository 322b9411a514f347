import { countOf, createOutput, formatCount, table } from '../../operations/cli/output';
import { createMemoryStreams } from '../../testkit/memory-streams';

const plain = { paint: (_style: string, text: string) => text };

test('a table has a line of titles and a line a row, with a dash for nothing', () => {
  const rows = [
    { name: 'first', count: 7 },
    { name: 'second', count: 1234 },
    { name: null, count: 0 },
  ];
  const text = table(
    rows,
    [
      { title: 'name', of: ({ name }) => name },
      { title: 'count', of: ({ count }) => count, align: 'right' },
    ],
    plain,
  );
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

test('a result is one JSON value for programs, and text for people', () => {
  const streams = createMemoryStreams();
  createOutput({ json: true }, streams).result({ answer: 42 }, () => 'never');
  expect(JSON.parse(streams.written.stdout)).toEqual({ answer: 42 });

  const others = createMemoryStreams();
  createOutput({ json: false }, others).result({ answer: 42 }, () => 'forty-two');
  expect(others.written).toEqual({ stdout: 'forty-two\n', stderr: '' });
});

describe('colours', () => {
  const before = process.env;
  const red = '\u001b[31mred\u001b[39m';

  afterEach(() => {
    process.env = before;
  });

  const painted = (environment: object, { json = false, terminal = true } = {}): string => {
    process.env = { TERM: 'xterm-256color', ...environment };
    return createOutput({ json }, createMemoryStreams({ stdout: terminal })).paint('red', 'red');
  };

  it('are shown on a terminal', () => {
    expect(painted({})).toBe(red);
  });

  it('are not shown elsewhere', () => {
    expect(painted({}, { terminal: false })).toBe('red');
  });

  it('are not shown with NO_COLOR', () => {
    expect(painted({ NO_COLOR: '1' })).toBe('red');
  });

  it('are not shown on a terminal that has none', () => {
    expect(painted({ TERM: 'dumb' })).toBe('red');
  });

  it('are not shown in JSON', () => {
    expect(painted({}, { json: true })).toBe('red');
  });
});

describe('progress', () => {
  it('is a bar on a terminal, which the result comes after', () => {
    const streams = createMemoryStreams({ stderr: true, stdout: true });
    const output = createOutput({ json: false }, streams);
    output.progress({ doing: 'redriving', share: { done: 0, total: 2_000 } });
    output.progress({ doing: 'redriving', share: { done: 2_000, total: 2_000 } });
    output.result({}, () => 'done');

    expect(streams.written.stderr).toContain('redriving ████');
    expect(streams.written.stderr).toContain('2,000 of 2,000 (100 %)');
    expect(streams.written.stderr.endsWith('\n')).toBe(true);
    expect(streams.written.stdout).toBe('done\n');
  });

  it('is a line on a terminal for what nobody knows the length of', () => {
    const streams = createMemoryStreams({ stderr: true });
    const output = createOutput({ json: false }, streams);
    output.progress({ doing: 'comparing' });
    output.progress({ doing: 'comparing' });
    output.close();

    expect(streams.written.stderr).toBe('comparing\n');
  });

  it('is a plain line elsewhere, and not one a step', () => {
    const streams = createMemoryStreams();
    const output = createOutput({ json: false }, streams);
    for (const done of [1, 2, 3])
      output.progress({ doing: 'redriving', share: { done, total: 3 } });

    expect(streams.written.stderr).toBe('redriving: 1 of 3\n');
  });

  it('keeps no process alive once it is closed', () => {
    jest.useFakeTimers();
    try {
      const output = createOutput({ json: false }, createMemoryStreams({ stderr: true }));
      output.progress({ doing: 'redriving', share: { done: 1, total: 3 } });
      output.close();

      expect(jest.getTimerCount()).toBe(0);
    } finally {
      jest.useRealTimers();
    }
  });
});
