import { runCommandLine } from '../../ops/command-line';

const written = { stdout: '', stderr: '' };

beforeEach(() => {
  for (const name of ['stdout', 'stderr'] as const) {
    written[name] = '';
    jest.spyOn(process[name], 'write').mockImplementation((chunk) => {
      written[name] += String(chunk);
      return true;
    });
  }
});

afterEach(() => {
  jest.restoreAllMocks();
});

describe('a command that is called wrongly does nothing, says why, and ends with 2', () => {
  test.each<[what: string, commandArguments: string[], says: string]>([
    ['an unknown command', ['explode'], "unknown command 'explode'"],
    ['an unknown option', ['verify', '--fast'], "unknown option '--fast'"],
    ['no command', ['dead-letters'], 'Usage:'],
    ['an ID that is no number', ['dead-letters', 'show', 'x'], 'whole number'],
    ['an ID of 0', ['dead-letters', 'redrive', '0'], 'whole number'],
    ['a status that there is not', ['dead-letters', 'list', '--status', 'gone'], 'parked'],
    ['neither IDs nor --all', ['dead-letters', 'redrive'], '--all'],
    ['both IDs and --all', ['dead-letters', 'redrive', '7', '--all'], 'without IDs'],
    ['all of the settled ones', ['dead-letters', 'redrive', '--all', '--again'], '--again'],
    ['IDs and a reason', ['dead-letters', 'redrive', '7', '--reason', 'X'], '--reason'],
    ['a discard without a reason', ['dead-letters', 'discard', '7'], '--reason'],
    ['a discard for a blank reason', ['dead-letters', 'discard', '7', '--reason', ' '], 'why'],
    ['a negative grace', ['verify', '--grace', '-1'], 'whole number'],
  ])('%s', async (_what, commandArguments, says) => {
    expect(await runCommandLine(commandArguments)).toBe(2);
    expect(written.stderr).toContain(says);
    expect(written.stdout).toBe('');
  });
});

test('what cannot be undone is refused where nobody can be asked and --yes is not said', async () => {
  expect(await runCommandLine(['dead-letters', 'discard', '7', '--reason', 'a test'])).toBe(2);
  expect(written.stderr).toContain('--yes');
  expect(written.stderr).toContain('Nothing was done');
});

describe('help', () => {
  test.each([
    [['--help']],
    [['dead-letters', '--help']],
    [['dead-letters', 'list', '--help']],
    [['dead-letters', 'show', '--help']],
    [['dead-letters', 'redrive', '--help']],
    [['dead-letters', 'discard', '--help']],
    [['events', 'list', '--help']],
    [['lag', '--help']],
    [['verify', '--help']],
    [['rebuild-metrics', '--help']],
  ])('of %j is printed, ends with 0 and tells of --json', async (commandArguments) => {
    expect(await runCommandLine(commandArguments)).toBe(0);
    expect(written.stdout).toContain('--json');
  });

  test('says what the exit codes mean', async () => {
    await runCommandLine(['--help']);
    for (const code of ['0  ', '1  ', '2  ']) expect(written.stdout).toContain(code);
  });
});
