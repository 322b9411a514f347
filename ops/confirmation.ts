/** Asking before what cannot be undone. */
import { createInterface } from 'node:readline/promises';
import { UsageError } from './command';
import type { Output } from './output';

/**
 * Asks a person whether to go on; `--yes` answers for a script.
 *
 * @returns whether to go on
 * @throws UsageError where nobody can be asked and nobody has said `--yes`
 */
export async function confirm(
  output: Pick<Output, 'canAsk'>,
  question: string,
  { yes }: { readonly yes?: boolean | undefined },
): Promise<boolean> {
  if (yes === true) return true;
  if (!output.canAsk()) {
    throw new UsageError(
      `${question}\nThere is no terminal to answer on: say --yes if it is to be done. Nothing was done.`,
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
