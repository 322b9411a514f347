/** `orders show`. */
import { Argument, type Command } from 'commander';
import type { OrderEvent, OrderStep, OrderTimeline } from '../../order-timeline';
import type { WorkflowActivity } from '../../order-workflow';
import { exitCodes, type RunCommand } from '../command';
import { table, type Column, type Output } from '../output';

export function addShowOrderCommand(orders: Command, run: RunCommand): void {
  orders
    .command('show')
    .description('show what has happened to an order, and what it waits for')
    .addArgument(new Argument('<ID>', 'as in the list'))
    .addHelpText('after', '\nExample:\n  npm run ops -- orders show 3f0a')
    .action((orderId: string, _options: unknown, command: Command) =>
      run(command, async ({ orders: operations, output }) => {
        const timeline = await operations().findTimeline(orderId);
        if (timeline === undefined) {
          output.note(`There is no order ${orderId}.`);
          return exitCodes.failed;
        }
        output.result(timeline, () => describe(timeline, output));
        return exitCodes.ok;
      }),
    );
}

function describe(timeline: OrderTimeline, output: Output): string {
  const { steps, events, payment } = timeline;
  return [
    fields(factsOf(timeline), output),
    waitingOf(timeline, output),
    section('What has happened', table(steps, stepColumns, output), steps, output),
    section(
      'Calls of the gateway',
      table(payment.tries, tryColumns, output),
      payment.tries,
      output,
    ),
    section('Events', table(events, eventColumns, output), events, output),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

function factsOf(timeline: OrderTimeline): Record<string, string | number | null> {
  const { status, stuck, items, payment, workflowId, workflowStatus } = timeline;
  const { books, idempotencyKey } = payment;
  return {
    order: timeline.orderId,
    status: stuck ? `${status}, stuck` : status,
    reason: timeline.reason,
    user: timeline.userId,
    items: items?.map(({ productId, quantity }) => `${quantity} × ${productId}`).join(', ') ?? null,
    total: timeline.totalAmount,
    placed: timeline.createdAt,
    payment:
      books && [books.status, books.amount, books.paymentId].filter((part) => part).join(' '),
    'payment key': idempotencyKey,
    workflow: `${workflowId} (${workflowStatus})`,
  };
}

function waitingOf({ waiting }: OrderTimeline, output: Output): string {
  if (waiting === null) return '';
  return fields(
    {
      'waits for': waiting.for,
      what: waiting.what,
      since: waiting.since,
      attempts: waiting.attempts,
      'last error': waiting.lastError,
      'what to do': waiting.advice,
      runbook: waiting.runbook,
    },
    output,
  );
}

function fields(values: Record<string, string | number | null>, { paint }: Output): string {
  return Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${paint('dim', name.padEnd(12))} ${value}`)
    .join('\n');
}

function section(
  title: string,
  content: string,
  rows: readonly unknown[],
  { paint }: Output,
): string {
  return rows.length === 0 ? '' : `${paint('bold', title)}\n${content}`;
}

const stepColumns: readonly Column<OrderStep>[] = [
  { title: 'at', of: ({ at }) => at },
  { title: 'step', of: ({ step }) => step },
  { title: 'reason', of: ({ reason }) => reason },
];

const tryColumns: readonly Column<WorkflowActivity>[] = [
  { title: 'since', of: ({ scheduledAt }) => scheduledAt },
  { title: 'call', of: ({ activity }) => activity },
  { title: 'state', of: ({ state }) => state },
  { title: 'attempts', of: ({ attempts }) => attempts, align: 'right' },
  { title: 'until', of: ({ endedAt }) => endedAt },
  { title: 'last error', of: ({ error }) => error },
];

const eventColumns: readonly Column<OrderEvent>[] = [
  { title: 'written', of: ({ writtenAt }) => writtenAt },
  { title: 'type', of: ({ type }) => type },
  { title: 'event', of: ({ eventId }) => eventId },
  { title: 'published', of: ({ publishedAt }) => publishedAt ?? 'waiting' },
  { title: 'handled', of: ({ handledAt }) => handledAt },
];
