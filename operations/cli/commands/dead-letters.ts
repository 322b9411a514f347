/** `dead-letters`: commands for parked messages. */
import type { Command } from 'commander';
import type { RunCommand } from '../command';
import { addCheckCommand } from './dead-letters-check';
import { addDiscardCommand } from './dead-letters-discard';
import { addGroupsCommand } from './dead-letters-groups';
import { addListCommand } from './dead-letters-list';
import { addRedriveCommand } from './dead-letters-redrive';
import { addShowCommand } from './dead-letters-show';

export function addDeadLetterCommands(program: Command, run: RunCommand): void {
  const deadLetters = program
    .command('dead-letters')
    .description('dead letters: invalid messages, and events that cannot be applied')
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- dead-letters groups
  npm run ops -- dead-letters list --status parked
  npm run ops -- dead-letters redrive --help`,
    );
  addGroupsCommand(deadLetters, run);
  addListCommand(deadLetters, run);
  addShowCommand(deadLetters, run);
  addCheckCommand(deadLetters, run);
  addRedriveCommand(deadLetters, run);
  addDiscardCommand(deadLetters, run);
}
