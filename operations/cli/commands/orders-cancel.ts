/** `orders cancel`. */
import { Argument, type Command } from 'commander';
import { exitCodes, type RunCommand } from '../command';
import { UsageError } from '../../../platform/process/program';
import { confirm } from '../confirmation';

interface CancelOptions {
  readonly reason?: string;
  readonly yes?: boolean;
}

export function addCancelOrderCommand(orders: Command, run: RunCommand): void {
  orders
    .command('cancel')
    .description('cancel an order at any step: refund the payment, release the stock')
    .addArgument(new Argument('<ID>', 'as in the list'))
    .option('--reason <text>', 'why; its shopper is told, up to 500 characters')
    .option('--yes', 'do not ask, on a terminal')
    .addHelpText(
      'after',
      `
An order that waits for the payment gateway is cancelled once the gateway has answered that it holds no money.
Needs Temporal and a worker:commerce.

Example:
  npm run ops -- orders cancel 3f0a --reason "the shopper called"`,
    )
    .action((orderId: string, { reason, yes }: CancelOptions, command: Command) =>
      run(command, async ({ orders: operations, output, name }) => {
        const why = reason ?? `requested by the operator ${name()}`;
        if (why.trim() === '' || why.length > 500) {
          throw new UsageError('--reason must say why, in up to 500 characters. Nothing was done.');
        }
        const question = `Cancel order ${orderId}? Its payment is refunded and its stock released.`;
        if (!(await confirm(output, question, { yes }))) return exitCodes.failed;
        if ((await operations().findTimeline(orderId)) === undefined) {
          output.note(`There is no order ${orderId}.`);
          return exitCodes.failed;
        }
        const outcome = await operations().cancel(orderId, { reason: why });
        if (outcome.kind !== 'cancelled') {
          output.note(`Order ${orderId} was refused while it was being placed: nothing to cancel.`);
          return exitCodes.failed;
        }
        const cancelled = { orderId, status: 'CANCELLED', reason: outcome.reason };
        output.result(cancelled, () => `Order ${orderId} is cancelled: ${outcome.reason}.`);
        return exitCodes.ok;
      }),
    );
}
