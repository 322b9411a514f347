/** Confirmation of irreversible commands. */
import type { Output } from './output';

/**
 * Asks for confirmation on a terminal. Programs and `--yes` are not asked.
 *
 * @returns whether to proceed; otherwise prints that nothing was done
 */
export async function confirm(
  output: Pick<Output, 'canAsk' | 'ask' | 'note'>,
  question: string,
  { yes = false }: { readonly yes?: boolean | undefined },
): Promise<boolean> {
  if (yes || !output.canAsk()) return true;
  const goOn = await output.ask(question);
  if (!goOn) output.note('Nothing was done.');
  return goOn;
}
