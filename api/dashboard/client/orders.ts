/** The list of orders: what is undecided first, and longest of all. */
import { html, nothing } from 'lit-html';
import type { ListedOrder, Page } from './api-types';
import { formatCount, formatDuration, formatTime } from './format';
import { poll } from './polling';
import type { Session } from './session';
import { choices, fieldOf, panel, productLink, reading, type Content, type View } from './view';

const choicesOfStatus = [
  ['all', 'All'],
  ['stuck', 'Stuck'],
  ['PLACED', 'Undecided'],
  ['CONFIRMED', 'Confirmed'],
  ['CANCELLED', 'Cancelled'],
] as const;

type Choice = (typeof choicesOfStatus)[number][0];

/** Opens the list. */
export function openOrders(session: Session): View {
  const { api, redraw } = session;
  let chosen: Choice = 'all';
  let filter: Readonly<Record<'user' | 'product', string>> = { user: '', product: '' };
  // Where the pages begin, from the second to the open one.
  let cursors: readonly string[] = [];
  const list = poll(
    3_000,
    () => api.get<Page<ListedOrder>>(`/v1/orders?${queryOf(chosen, filter, cursors.at(-1))}`),
    redraw,
  );
  const open = (pages: readonly string[]): void => {
    cursors = pages;
    void list.refresh();
  };
  const choose = (choice: Choice): void => {
    chosen = choice;
    open([]);
  };
  const search = (event: SubmitEvent): void => {
    event.preventDefault();
    filter = { user: fieldOf(event, 'user'), product: fieldOf(event, 'product') };
    open([]);
  };
  return {
    section: 'orders',
    title: 'Orders',
    render: () =>
      panel(
        'orders',
        'Orders',
        html`<p class="note">
            Undecided ones first, the oldest of them first; then the others, the newest first.
          </p>
          ${filterForm(search)}
          ${reading(list, (page) => [
            table(page),
            html`<div class="buttons pages">
              ${
                cursors.length === 0
                  ? nothing
                  : html`<button type="button" @click=${() => open(cursors.slice(0, -1))}>
                      Previous page
                    </button>`
              }
              ${
                page.nextCursor === null
                  ? nothing
                  : html`<button type="button" @click=${() => open([...cursors, page.nextCursor!])}>
                      Next page
                    </button>`
              }
            </div>`,
          ])}`,
        choices('Which', choicesOfStatus, chosen, choose),
      ),
    close: () => list.stop(),
  };
}

function queryOf(
  chosen: Choice,
  filter: Readonly<Record<string, string>>,
  after: string | undefined,
): string {
  const query = new URLSearchParams({ limit: '20' });
  if (chosen === 'stuck') query.set('older-than', '10s');
  if (chosen !== 'all') query.set('status', chosen === 'stuck' ? 'PLACED' : chosen);
  for (const [name, value] of Object.entries(filter)) if (value !== '') query.set(name, value);
  if (after !== undefined) query.set('after', after);
  return query.toString();
}

function filterForm(onSubmit: (event: SubmitEvent) => void): Content {
  const field = (name: string, label: string): Content =>
    html`<label for=${`filter-${name}`}>${label}</label>
      <input
        id=${`filter-${name}`}
        name=${name}
        autocomplete="off"
        spellcheck="false"
        maxlength="64"
      />`;
  return html`<form class="controls" @submit=${onSubmit}>
    ${field('user', 'User ID')} ${field('product', 'Product ID')}
    <button type="submit">Filter</button>
  </form>`;
}

function table({ items }: Page<ListedOrder>): Content {
  if (items.length === 0) return html`<p class="empty">No such orders.</p>`;
  return html`<div class="scrolling" role="region" aria-label="List of orders" tabindex="0">
    <table class="orders">
      <thead>
        <tr>
          <th scope="col">Order</th>
          <th scope="col">Status</th>
          <th scope="col">User</th>
          <th scope="col">Products</th>
          <th scope="col" class="number">Total</th>
          <th scope="col">Placed</th>
        </tr>
      </thead>
      <tbody>
        ${items.map(
          (order) =>
            html`<tr data-order=${order.orderId}>
              <th scope="row">
                <a class="id" href=${`#/orders/${order.orderId}`}>${order.orderId}</a>
              </th>
              <td>${orderMark(order)}<span class="where">${order.reason ?? ''}</span></td>
              <td class="id">${order.userId}</td>
              <td>${productsOf(order)}</td>
              <td class="number">${formatCount(order.totalAmount)}</td>
              <td class="nowrap">${formatTime(order.createdAt)}${ageOf(order)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

const shownProducts = 2;

function productsOf({ productIds }: ListedOrder): Content {
  const more = productIds.length - shownProducts;
  return [
    ...productIds
      .slice(0, shownProducts)
      .map((productId) => html`<span class="nowrap">${productLink(productId)}</span> `),
    more > 0 ? html`<span class="where">and ${formatCount(more)} more</span>` : nothing,
  ];
}

function ageOf({ status, createdAt }: ListedOrder): Content {
  if (status !== 'PLACED') return nothing;
  const ms = Math.max(Date.now() - Date.parse(createdAt), 0);
  return html`<span class="where">${formatDuration(ms)} ago</span>`;
}

/** The status of an order as a badge. */
export function orderMark({ status, stuck }: Pick<ListedOrder, 'status' | 'stuck'>): Content {
  const text = {
    PLACED: stuck ? 'stuck' : 'undecided',
    CONFIRMED: 'confirmed',
    CANCELLED: 'cancelled',
  };
  return html`<span class="mark" data-status=${text[status]}>${text[status]}</span>`;
}
