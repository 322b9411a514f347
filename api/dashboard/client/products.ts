/** The ranking of products, of all time or of one day. */
import { html, nothing } from 'lit-html';
import type { Page, RankedProduct, Ranking } from './api-types';
import { formatCount } from './format';
import { poll } from './polling';
import type { Session } from './session';
import { choices, fieldOf, panel, productLink, reading, type Content, type View } from './view';

const rankings = [
  ['sales', 'Sales'],
  ['likes', 'Likes'],
  ['views', 'Views'],
] as const;

const columns = [
  { ranking: 'sales', title: 'Sold', of: ({ salesCount }: RankedProduct) => salesCount },
  { ranking: 'likes', title: 'Likes', of: ({ likeCount }: RankedProduct) => likeCount },
  { ranking: 'views', title: 'Views', of: ({ viewCount }: RankedProduct) => viewCount },
] as const;

const pageSize = 20;

/** Opens the ranking. */
export function openProducts(session: Session): View {
  const { api, redraw } = session;
  let sort: Ranking = 'sales';
  let day = '';
  let limit = pageSize;
  const load = (): Promise<Page<RankedProduct>> => {
    const ofDay = day === '' ? '' : `&day=${day}`;
    return api.get<Page<RankedProduct>>(`/v1/metrics/products?sort=${sort}&limit=${limit}${ofDay}`);
  };
  const ranking = poll(3_000, load, redraw);
  const reload = (): void => void ranking.refresh();

  const controls = (): Content =>
    html`<div class="controls">
      ${choices('Rank by', rankings, sort, (chosen) => {
        sort = chosen;
        reload();
      })}
      <label for="day">Day (UTC)</label>
      <input
        id="day"
        type="date"
        .value=${day}
        @change=${(event: Event) => {
          day = (event.target as HTMLInputElement).value;
          reload();
        }}
      />
      <button
        type="button"
        aria-pressed=${day === '' ? 'true' : 'false'}
        @click=${() => {
          day = '';
          reload();
        }}
      >
        All time
      </button>
    </div>`;
  const more = (): void => {
    limit = Math.min(limit + pageSize, 100);
    reload();
  };
  return {
    section: 'products',
    title: 'Products',
    render: () =>
      html`${panel(
        'ranking',
        'Ranking of products',
        reading(ranking, (page) => table(page, sort, limit < 100 ? more : undefined)),
        controls(),
      )}
      ${finder()}`,
    close: () => ranking.stop(),
  };
}

function table(
  { items, nextCursor }: Page<RankedProduct>,
  sort: Ranking,
  onMore: (() => void) | undefined,
): Content {
  if (items.length === 0) {
    return html`<p class="empty">No products with events here.</p>`;
  }
  const most = Math.max(...items.map((item) => figureOf(item, sort)), 1);
  return html`<div class="scrolling" role="region" aria-label="Ranked products" tabindex="0">
      <table class="ranking">
        <thead>
          <tr>
            <th scope="col" class="number">Rank</th>
            <th scope="col">Product</th>
            ${columns.map(
              ({ title, ranking }) =>
                html`<th
                  scope="col"
                  class="number"
                  aria-sort=${ranking === sort ? 'descending' : 'none'}
                >
                  ${title}
                </th>`,
            )}
          </tr>
        </thead>
        <tbody>
          ${items.map(
            (item, index) =>
              html`<tr data-product=${item.productId}>
                <td class="number rank">${index + 1}</td>
                <th scope="row">
                  ${productLink(item.productId, item.name ?? item.productId)}
                  <span class="where"
                    >${item.name === null ? 'not in the catalog' : item.productId}</span
                  >
                  <meter
                    min="0"
                    max=${most}
                    value=${Math.max(figureOf(item, sort), 0)}
                    aria-hidden="true"
                  ></meter>
                </th>
                ${columns.map(
                  ({ of, ranking }) =>
                    html`<td class="number" data-sorted=${ranking === sort ? 'yes' : 'no'}>
                      ${formatCount(of(item))}
                    </td>`,
                )}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${
      nextCursor !== null && onMore !== undefined
        ? html`<button type="button" class="more" @click=${onMore}>Show more</button>`
        : nothing
    }`;
}

function figureOf(item: RankedProduct, sort: Ranking): number {
  return columns.find(({ ranking }) => ranking === sort)?.of(item) ?? 0;
}

function finder(): Content {
  const open = (event: SubmitEvent): void => {
    event.preventDefault();
    const productId = fieldOf(event, 'productId');
    if (productId !== '') location.hash = `#/products/${encodeURIComponent(productId)}`;
  };
  return panel(
    'finder',
    'Find a product',
    html`<form class="controls" @submit=${open}>
      <label for="product-id">Product ID</label>
      <input
        id="product-id"
        name="productId"
        autocomplete="off"
        spellcheck="false"
        maxlength="64"
      />
      <button type="submit">Open</button>
    </form>`,
  );
}
