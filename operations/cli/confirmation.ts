/** Asking before what cannot be undone. */
import type { Output } from './output';

/**
 * Asks a person whether to go on. Programs are not asked: what they call, they mean. Nor is who says
 * `--yes`.
 *
 * @returns whether to go on; if not, that is said
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
