/** `dead-letters show`. */
import { Argument, type Command } from 'commander';
import type { EncodedBytes } from '../../../events/received';
import type { DeadLetterWithMessage } from '../../dead-letters';
import { positiveInteger } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import type { Output } from '../output';

export function addShowCommand(deadLetters: Command, run: RunCommand): void {
  deadLetters
    .command('show')
    .description('show a dead letter with its message')
    .addArgument(new Argument('<ID>', 'as in the list').argParser(positiveInteger))
    .addHelpText('after', '\nExample:\n  npm run ops -- dead-letters show 7')
    .action((id: number, _options: unknown, command: Command) =>
      run(command, async ({ deadLetters: operations, output }) => {
        const deadLetter = await operations().find(id);
        if (deadLetter === undefined) {
          output.note(`There is no dead letter ${id}.`);
          return exitCodes.failed;
        }
        output.result(deadLetter, () => describe(deadLetter, output));
        return exitCodes.ok;
      }),
    );
}

function describe(deadLetter: DeadLetterWithMessage, { paint }: Output): string {
  const { value, headers, key, ...fields } = deadLetter;
  const lines = Object.entries(fields)
    .filter(([, field]) => field !== null)
    .map(([name, field]) => `${paint('dim', name.padEnd(14))} ${String(field)}`);
  const message = [
    ...headers.map((header) => {
      const text = toText('value' in header ? null : header);
      const bytes = header.nameBase64 === undefined ? '' : ` (base64) ${header.nameBase64}`;
      return `${paint('dim', `header ${header.name}${bytes}`)} ${text}`;
    }),
    `${paint('dim', 'key'.padEnd(14))} ${toText(key)}`,
    `${paint('dim', 'value'.padEnd(14))} ${toText(value)}`,
  ];
  return [...lines, '', ...message].join('\n');
}

function toText(bytes: EncodedBytes | null): string {
  if (bytes === null) return '(none)';
  return 'text' in bytes ? bytes.text : `(base64) ${bytes.base64}`;
}
