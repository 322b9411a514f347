/** `orders list`. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { OrderStatus } from '../../../events/orders';
import { ageInSeconds } from '../../age';
import type { ListedOrder } from '../../order-list';
import { positiveInteger } from '../arguments';
import { exitCodes, type RunCommand } from '../command';
import { table, type Column } from '../output';

interface ListOptions {
  readonly status?: OrderStatus;
  readonly user?: string;
  readonly product?: string;
  readonly olderThan?: number;
  readonly after?: string;
  readonly limit: number;
}

const statuses: readonly OrderStatus[] = ['PLACED', 'CONFIRMED', 'CANCELLED'];

export function addListOrdersCommand(orders: Command, run: RunCommand): void {
  orders
    .command('list')
    .description('list orders: undecided ones, oldest first; then the others, newest first')
    .addOption(
      new Option('--status <status>', 'only in this status; PLACED: undecided').choices(statuses),
    )
    .option('--user <ID>', 'only of this user')
    .option('--product <ID>', 'only with this product')
    .option('--older-than <age>', 'only placed at least as long ago, such as 10s, 5m, 2h, 1d', age)
    .option('--after <ID>', 'cursor: continue after this order, the last of the previous page')
    .option('--limit <number>', 'page size', positiveInteger, 50)
    .addHelpText(
      'after',
      `
Examples:
  npm run ops -- orders list --status PLACED --older-than 10s
  npm run ops -- orders list --user ann --limit 5 --json`,
    )
    .action((options: ListOptions, command: Command) =>
      run(command, async ({ orders: operations, output }) => {
        const { status, user, product, olderThan, after: cursor, limit } = options;
        const after = cursor === undefined ? undefined : await operations().findPosition(cursor);
        if (cursor !== undefined && after === undefined) {
          output.note(`There is no order ${cursor}: start again without a cursor.`);
          return exitCodes.failed;
        }
        const filter = { status, userId: user, productId: product, olderThanSeconds: olderThan };
        const found = await operations().list(filter, { limit: limit + 1, after });
        const page = toPage(found, limit);
        output.result(page, () => {
          if (page.orders.length === 0) return 'No orders.';
          const more = page.next === undefined ? '' : `\n\nMore: --after ${page.next}`;
          return table(page.orders, columns, output) + more;
        });
        return exitCodes.ok;
      }),
    );
}

type ShownOrder = Omit<ListedOrder, 'position'>;

/** The cursor of the next page is the ID of this page's last order. */
function toPage(
  found: readonly ListedOrder[],
  limit: number,
): { readonly orders: readonly ShownOrder[]; readonly next?: string } {
  const orders = found.slice(0, limit).map(({ position: _, ...order }) => order);
  const last = orders.at(-1);
  return found.length > limit && last !== undefined ? { orders, next: last.orderId } : { orders };
}

const columns: readonly Column<ShownOrder>[] = [
  { title: 'order', of: ({ orderId }) => orderId },
  { title: 'status', of: ({ status, stuck }) => (stuck ? `${status}, stuck` : status) },
  { title: 'user', of: ({ userId }) => userId },
  { title: 'total', of: ({ totalAmount }) => totalAmount, align: 'right' },
  { title: 'products', of: ({ productIds }) => productIds.length, align: 'right' },
  { title: 'placed', of: ({ createdAt }) => createdAt },
  { title: 'reason', of: ({ reason }) => reason },
];

function age(text: string): number {
  const seconds = ageInSeconds(text);
  if (seconds !== undefined) return seconds;
  throw new InvalidArgumentError('It must be an age such as 10s, 5m, 2h or 1d.');
}
