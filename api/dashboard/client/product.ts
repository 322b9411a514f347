/** One product: its metrics, what the shop and the cache hold of it, its history and its users. */
import { html, nothing } from 'lit-html';
import type { HistoryEvent, Inspection, Page, ProductUser } from './api-types';
import { createDemonstration } from './demonstration';
import { formatCount, formatCountdown, formatTime } from './format';
import { notFound, unlessMissing } from './not-found';
import { poll } from './polling';
import type { Session } from './session';
import {
  eventLink,
  hrefOf,
  panel,
  reading,
  tile,
  workflowLink,
  type Content,
  type View,
} from './view';

/** Opens a product. */
export function openProduct(session: Session, productId: string): View {
  const { api, redraw } = session;
  const own = `/v1/metrics/products/${encodeURIComponent(productId)}`;
  let historyLimit = 20;
  const inspected = poll(2_000, () => inspect(session, productId), redraw);
  const history = poll(
    2_000,
    () => api.get<Page<HistoryEvent>>(`${own}/history?limit=${historyLimit}`),
    redraw,
  );
  const users = poll(5_000, () => api.get<Page<ProductUser>>(`${own}/users?limit=50`), redraw);
  const demonstration = createDemonstration(session, productId);
  const clock = setInterval(redraw, 1_000);
  const showMore = (): void => {
    historyLimit = 100;
    void history.refresh();
  };
  const content = (): Content => html`
    <div class="title">
      <h2>${inspected.data?.shop?.name ?? productId}</h2>
      <p class="where">${productId}</p>
    </div>
    <dl class="tiles">${tiles(inspected.data)}</dl>
    <div class="columns">
      <div class="main-column">
        ${panel(
          'history',
          'History',
          html`<div class="history">
            ${reading(history, (page) => historyList(session, page, showMore))}
          </div>`,
          html`<span class="note">audit log, newest first</span>`,
        )}
      </div>
      <div class="side-column">
        ${panel('cache', 'Cache', reading(inspected, cacheState))}
        ${session.settings.demonstration ? demonstration.render() : nothing}
        ${panel('users', 'Users', reading(users, userTable))}
      </div>
    </div>
  `;
  return {
    section: 'products',
    title: productId,
    render: () =>
      html`<p class="back"><a href="#/products">All products</a></p>
        ${
          isUnknown(inspected.data, history.data)
            ? notFound(
                `No product ${productId}`,
                'Neither the catalog nor any event knows a product of this ID.',
              )
            : unlessMissing(inspected, `No product ${productId}`, content)
        }`,
    close() {
      clearInterval(clock);
      for (const each of [inspected, history, users]) each.stop();
      demonstration.close();
    },
  };
}

/** Whether the shop, the metrics and the audit log have all answered that there is no such product. */
function isUnknown(
  inspected: Inspection | undefined,
  history: Page<HistoryEvent> | undefined,
): boolean {
  return inspected?.shop === null && inspected.metrics === null && history?.items.length === 0;
}

interface Inspected extends Inspection {
  /** When it was looked at, in ms since 1970. */
  readonly at: number;
}

async function inspect({ api }: Session, productId: string): Promise<Inspected> {
  const path = `/v1/products/${encodeURIComponent(productId)}/inspection`;
  return { ...(await api.get<Inspection>(path)), at: Date.now() };
}

function tiles(inspected: Inspected | undefined): Content {
  const metrics = inspected?.metrics;
  const shown = (value: number | null | undefined): string =>
    value === undefined || value === null ? '–' : formatCount(value);
  const shop = inspected?.shop;
  const differs =
    shop && typeof metrics?.stock === 'number' && metrics.stock !== shop.stock
      ? `shop: ${formatCount(shop.stock)}; events in flight`
      : shop === null
        ? 'not in the catalog'
        : 'same as in the shop';
  const soldOut = metrics?.stock === 0;
  return [
    tile('tile-sold', 'Sold', shown(metrics?.salesCount), 'units, minus cancelled'),
    tile('tile-likes', 'Likes', shown(metrics?.likeCount), 'users'),
    tile('tile-views', 'Views', shown(metrics?.viewCount), 'of the product page'),
    tile(
      'tile-stock',
      'Stock',
      shown(metrics?.stock),
      soldOut ? `sold out, ${differs}` : differs,
      soldOut ? 'warn' : 'calm',
    ),
  ];
}

function cacheState({ cache, at }: Inspected): Content {
  switch (cache.status) {
    case 'absent':
      return html`<p class="fact" data-cache="absent">
        Not cached. The next view reads PostgreSQL.
      </p>`;
    case 'unknown':
      return html`<p class="fact" data-cache="unknown">Redis is unavailable.</p>`;
    case 'cached':
      return html`<p class="fact" data-cache="cached">
          Cached in Redis, expires in
          <span class="number">${formatCountdown(cache.expiresInMs - (Date.now() - at))}</span>.
        </p>
        <pre tabindex="0" aria-label="Cached detail">
${JSON.stringify(cache.detail, null, 2)}</pre>`;
  }
}

function historyList(
  session: Session,
  { items, nextCursor }: Page<HistoryEvent>,
  onMore: () => void,
): Content {
  if (items.length === 0) {
    return html`<p class="empty">No events of this product in the audit log.</p>`;
  }
  return html`<ol class="events">
      ${newestFirst(items).map(
        (event) =>
          html`<li data-event=${event.eventId}>
            <time datetime=${event.occurredAt} title=${event.occurredAt}
              >${formatTime(event.occurredAt)}</time
            >
            ${eventLink(event.eventId, event.type)}
            <span class="about">${about(event)}</span>
            <span class="links"
              >${
                event.workflowId === null
                  ? html`<span class="where">not handled yet</span>`
                  : workflowLink(session, event.workflowId)
              }</span
            >
          </li>`,
      )}
    </ol>
    ${
      nextCursor !== null && items.length < 100
        ? html`<button type="button" class="more" @click=${onMore}>Show more</button>`
        : nothing
    }`;
}

/** By the times that are shown. Pages come in the order in which events were logged. */
function newestFirst(events: readonly HistoryEvent[]): HistoryEvent[] {
  return events.toSorted((one, other) => Date.parse(other.occurredAt) - Date.parse(one.occurredAt));
}

/** What the event says, with a link to the order that it names. */
function about({ description, event }: HistoryEvent): Content {
  const { orderId } = (event['data'] ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof orderId !== 'string') return description;
  return html`${description}
    <a href=${hrefOf('order', orderId)}>Order<span class="hidden"> ${orderId}</span></a>`;
}

function userTable({ items, nextCursor }: Page<ProductUser>): Content {
  if (items.length === 0) return html`<p class="empty">No user activity.</p>`;
  return html`<div class="scrolling" role="region" aria-label="Users of the product" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">User</th>
            <th scope="col" class="number">Bought</th>
            <th scope="col" class="number">Views</th>
            <th scope="col">Likes it</th>
            <th scope="col">Last event</th>
          </tr>
        </thead>
        <tbody>
          ${items.map(
            (user) =>
              html`<tr data-user=${user.userId}>
                <th scope="row" class="id">${user.userId}</th>
                <td class="number">${formatCount(user.purchaseCount)}</td>
                <td class="number">${formatCount(user.viewCount)}</td>
                <td>${user.liked ? 'yes' : 'no'}</td>
                <td>${formatTime(user.lastEventAt)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${nextCursor === null ? nothing : html`<p class="note">The first ${items.length} by user ID.</p>`}`;
}
