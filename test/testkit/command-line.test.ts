/** Mistakes in the command lines of the benchmarks and of the fault suite. */
import { readCommandLine, tellsUsage } from '../../testkit/command-line';
import { UsageError } from '../../platform/process/program';

const options = { seed: { type: 'string' } } as const;

function mistakeIn(args: string[]): unknown {
  try {
    readCommandLine({ args, options });
  } catch (error) {
    return error;
  }
  return undefined;
}

test.each([
  ['an unknown option', ['--seeed', '1'], '--seeed'],
  ['an option without its value', ['--seed'], '--seed'],
  ['a word too many', ['1'], '1'],
])('%s is told by its name and without a stack, with exit code 2', (_, args, name) => {
  const mistake = mistakeIn(args);
  expect(mistake).toBeInstanceOf(UsageError);
  const told = tellsUsage.explain?.(mistake);
  expect(told).toContain(name);
  expect(told).not.toContain('    at ');
  expect(tellsUsage.exitCodeOf?.(mistake)).toBe(2);
});

test('any other error is told whole, with exit code 1', () => {
  const error = new Error('broken');
  expect(tellsUsage.explain?.(error)).toBe(error);
  expect(tellsUsage.exitCodeOf?.(error)).toBe(1);
});

test('what is right is read', () => {
  expect(readCommandLine({ args: ['--seed', '1'], options }).values).toEqual({ seed: '1' });
});
