/** One order: what has happened to it, what it waits for, its payment and its events. */
import { html, nothing } from 'lit-html';
import type { CancelledOrder, OrderTimeline } from './api-types';
import { formatCount, formatDuration, formatTime } from './format';
import { orderMark } from './orders';
import { messageOf, poll } from './polling';
import { ask } from './question';
import type { Session } from './session';
import {
  eventLink,
  facts,
  panel,
  productLink,
  reading,
  runbookLink,
  workflowLink,
  type Content,
  type View,
} from './view';

/** Opens an order. */
export function openOrder(session: Session, orderId: string): View {
  const { api, redraw } = session;
  const path = `/v1/orders/${encodeURIComponent(orderId)}`;
  const timeline = poll(2_000, () => api.get<OrderTimeline>(`${path}/timeline`), redraw);
  let result:
    { readonly text: string; readonly state: 'under-way' | 'done' | 'failed' } | undefined;

  const cancel = async (): Promise<void> => {
    const reason = await ask({
      title: 'Cancel this order?',
      text: 'Its payment is refunded and its stock released. The shopper is told the reason.',
      action: 'Cancel the order',
      dangerous: true,
      reason: 'Reason',
    });
    if (reason === undefined) return;
    result = { text: 'Being cancelled …', state: 'under-way' };
    redraw();
    try {
      const { status } = await api.post<CancelledOrder>(`${path}/cancel`, { reason });
      const text =
        status === 'CANCELLED'
          ? 'Cancelled.'
          : 'Accepted: it is cancelled as soon as what it waits for has answered.';
      result = { text, state: 'done' };
    } catch (error) {
      result = { text: messageOf(error), state: 'failed' };
    }
    await timeline.refresh();
  };
  const actions = ({ status, workflowId }: OrderTimeline): Content =>
    html`<div class="buttons">
        ${
          status === 'CANCELLED'
            ? nothing
            : html`<button
                type="button"
                class="dangerous"
                data-act="cancel"
                ?disabled=${result?.state === 'under-way'}
                @click=${() => void cancel()}
              >
                Cancel the order
              </button>`
        }
        ${workflowLink(session, workflowId, 'Open the workflow')}
      </div>
      <p class="outcome" role="status" data-state=${result?.state ?? 'none'}>
        ${result?.text ?? ''}
      </p>`;
  return {
    section: 'orders',
    title: `Order ${orderId}`,
    render: () =>
      html`<p class="back"><a href="#/orders">All orders</a></p>
        ${reading(
          timeline,
          (found) => html`
            <div class="title">
              <h2>Order <span class="where">${orderId}</span></h2>
              ${orderMark(found)}
            </div>
            ${panel('order-state', headingOf(found), [waitingFor(found), actions(found)])}
            <div class="columns">
              <div class="main-column">
                ${panel('steps', 'What has happened', steps(found))}
                ${panel('events-of-order', 'Events', events(session, found))}
              </div>
              <div class="side-column">
                ${panel('facts', 'Facts', orderFacts(found))}
                ${panel('payment', 'Payment', payment(found))}
              </div>
            </div>
          `,
        )}`,
    close: () => timeline.stop(),
  };
}

const namesOfWaiting = {
  gateway: 'Waits for the payment gateway',
  database: 'Waits for PostgreSQL',
  outbox: 'Waits for Kafka',
  worker: 'Waits for a worker',
  audit: 'Waits for the delivery audit',
  unknown: 'Waits for something that Temporal cannot say',
} as const;

function headingOf({ waiting }: OrderTimeline): string {
  return waiting === null ? 'Decided' : namesOfWaiting[waiting.for];
}

function waitingFor({ waiting }: OrderTimeline): Content {
  if (waiting === null) {
    return html`<p class="fact">It is decided, and all of its events are published.</p>`;
  }
  const { what, advice, since, attempts, lastError, runbook } = waiting;
  const forLong = since === null ? undefined : Math.max(Date.now() - Date.parse(since), 0);
  return html`<p class="problem" data-waiting=${waiting.for}>${what}</p>
    <p class="fact">${advice} ${runbookLink(runbook)}</p>
    ${facts([
      ...(forLong === undefined ? [] : [['Since', formatDuration(forLong)] as const]),
      ...(attempts === null ? [] : [['Attempts', formatCount(attempts)] as const]),
      ...(lastError === null ? [] : [['Last error', lastError] as const]),
    ])}`;
}

const namesOfSteps: Readonly<Record<OrderTimeline['steps'][number]['step'], string>> = {
  reserved: 'Stock reserved',
  charged: 'Payment captured',
  confirmed: 'Confirmed',
  'payment-failed': 'Payment failed',
  refunded: 'Payment refunded',
  released: 'Stock released',
  cancelled: 'Cancelled',
};

function steps(timeline: OrderTimeline): Content {
  if (timeline.steps.length === 0) {
    return html`<p class="empty">Nothing yet: the stock is not reserved.</p>`;
  }
  return html`<ol class="steps">
    ${timeline.steps.map(
      ({ step, at, reason, eventIds }) =>
        html`<li data-step=${step}>
          <time datetime=${at} title=${at}>${formatTime(at)}</time>
          <span
            >${namesOfSteps[step]}${reason === null ? nothing : html`<span class="where">${reason}</span>`}</span
          >
          <span class="where">${publishedOf(timeline, eventIds)}</span>
        </li>`,
    )}
  </ol>`;
}

function publishedOf({ events }: OrderTimeline, eventIds: readonly string[]): string {
  const own = events.filter(({ eventId }) => eventIds.includes(eventId));
  if (own.length === 0) return 'no event';
  const published = own.filter(({ publishedAt }) => publishedAt !== null).length;
  const count = own.length === 1 ? '1 event' : `${formatCount(own.length)} events`;
  return published === own.length ? `${count} published` : `${count}, ${published} published`;
}

function events(session: Session, { events: list }: OrderTimeline): Content {
  if (list.length === 0) return html`<p class="empty">None yet.</p>`;
  return html`<div class="scrolling" role="region" aria-label="Events of the order" tabindex="0">
    <table>
      <thead>
        <tr>
          <th scope="col">Event</th>
          <th scope="col">Published</th>
          <th scope="col">Handled</th>
        </tr>
      </thead>
      <tbody>
        ${list.map(
          ({ eventId, type, topic, partition, offset, publishedAt, handledAt, handledBy }) =>
            html`<tr data-event=${eventId}>
              <th scope="row">
                ${eventLink(eventId, type)}<span class="where id">${eventId}</span>
              </th>
              <td class="nowrap">
                ${
                  publishedAt === null
                    ? html`<span class="mark" data-status="waiting">waiting</span>`
                    : html`${formatTime(publishedAt)}<span class="where"
                          >${topic}/${partition} at ${offset}</span
                        >`
                }
              </td>
              <td class="nowrap">
                ${
                  handledAt === null || handledBy === null
                    ? 'not yet'
                    : html`${formatTime(handledAt)} ${workflowLink(session, handledBy)}`
                }
              </td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function orderFacts(timeline: OrderTimeline): Content {
  const { userId, createdAt, items, totalAmount, reason, workflowStatus } = timeline;
  return facts([
    ['User', userId ?? 'not known yet'],
    ['Placed', createdAt === null ? 'not stored yet' : formatTime(createdAt)],
    ['Total', totalAmount === null ? 'not known yet' : formatCount(totalAmount)],
    ...(items ?? []).map(
      ({ productId, quantity, unitPrice }) =>
        [`${formatCount(quantity)} × ${formatCount(unitPrice)}`, productLink(productId)] as const,
    ),
    ...(reason === null ? [] : [['Reason', reason] as const]),
    ['Workflow', workflowStatus.toLowerCase()],
  ]);
}

function payment({ payment: { books, idempotencyKey, tries } }: OrderTimeline): Content {
  const inBooks: Content =
    books === null ? 'not decided' : `${books.status}, ${formatCount(books.amount)}`;
  return [
    facts([
      ['In the shop’s books', inBooks],
      ...(books?.reason ? [['Reason', books.reason] as const] : []),
      ...(books?.paymentId ? [['The gateway’s ID', books.paymentId] as const] : []),
      ['Key to ask the gateway with', idempotencyKey],
    ]),
    html`<h3>Calls of the gateway</h3>`,
    tries.length === 0
      ? html`<p class="empty">None that Temporal still has.</p>`
      : html`<ol class="tries">
          ${tries.map(
            ({ activity, state, attempts, scheduledAt, error }) =>
              html`<li>
                <span class="nowrap">${formatTime(scheduledAt)}</span> <strong>${activity}</strong>
                ${state}, ${attempts === 1 ? '1 attempt' : `${formatCount(attempts)} attempts`}
                ${error === null ? nothing : html`<span class="where">${error}</span>`}
              </li>`,
          )}
        </ol>`,
  ];
}
