/** `orders`: what waits, what has happened to one, and cancelling it. */
import type { Command } from 'commander';
import type { RunCommand } from '../command';
import { addCancelOrderCommand } from './orders-cancel';
import { addListOrdersCommand } from './orders-list';
import { addShowOrderCommand } from './orders-show';

export function addOrderCommands(program: Command, run: RunCommand): void {
  const orders = program
    .command('orders')
    .description('orders of the shop: undecided ones, and what each waits for')
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- orders list --status PLACED --older-than 10s
  npm run ops -- orders show --help`,
    );
  addListOrdersCommand(orders, run);
  addShowOrderCommand(orders, run);
  addCancelOrderCommand(orders, run);
}
