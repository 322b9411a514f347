/** What every view of the dashboard is, and the pieces that several of them are made of. */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { SearchHit } from './api-types';
import { formatClock } from './format';
import type { Reading } from './polling';
import type { Session } from './session';

/** Content of a template. */
export type Content = TemplateResult | string | number | typeof nothing | readonly Content[];

/** A view, from when it is opened until another is. */
export interface View {
  /** Which part of the navigation it belongs to. */
  readonly section: 'overview' | 'products' | 'orders' | 'dead-letters' | 'none';
  readonly title: string;
  render(): Content;
  /** Ends what it has begun. */
  close(): void;
}

/** A panel with a heading. @param aside content beside the heading */
export function panel(
  id: string,
  heading: string,
  content: Content,
  aside: Content = nothing,
): TemplateResult {
  return html`<section class="panel" id=${id} aria-labelledby=${`${id}-heading`}>
    <div class="panel-head">
      <h2 id=${`${id}-heading`}>${heading}</h2>
      ${aside}
    </div>
    ${content}
  </section>`;
}

/** What was read, or why there is nothing to show; and since when it is old, if it is. */
export function reading<Data>(
  { data, failure }: Pick<Reading<Data>, 'data' | 'failure'>,
  show: (data: Data) => Content,
): TemplateResult {
  const note =
    failure === undefined
      ? nothing
      : html`<p class="stale" role="status">
          ${data === undefined ? 'No data yet' : `As of ${formatClock(failure.since)}`}:
          ${failure.message}
        </p>`;
  if (data !== undefined) {
    return html`<div class=${failure === undefined ? 'fresh' : 'old'}>${show(data)}</div>
      ${note}`;
  }
  return failure === undefined
    ? html`<p class="empty" aria-busy="true">Loading …</p>`
    : html`${note}`;
}

/** A number with its name, large. */
export function tile(
  id: string,
  label: string,
  value: Content,
  detail: Content,
  tone: 'calm' | 'warn' | 'bad' = 'calm',
): TemplateResult {
  return html`<div class="tile" id=${id} data-tone=${tone}>
    <dt>${label}</dt>
    <dd>
      <span class="value">${value}</span>
      <span class="detail">${detail}</span>
    </dd>
  </div>`;
}

/** Names, each with its value. */
export function facts(rows: readonly (readonly [name: string, value: Content])[]): TemplateResult {
  return html`<dl class="facts">
    ${rows.map(
      ([name, value]) =>
        html`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
    )}
  </dl>`;
}

/** A workflow in the Temporal Web UI. */
export function workflowLink(
  { settings }: Pick<Session, 'settings'>,
  workflowId: string,
  text: string = 'Workflow',
): TemplateResult {
  const { temporalUiUrl, temporalNamespace } = settings;
  const base = temporalUiUrl.replace(/\/$/, '');
  const url = `${base}/namespaces/${encodeURIComponent(temporalNamespace)}/workflows/${encodeURIComponent(workflowId)}`;
  return html`<a
    class="outside"
    href=${url}
    target="_blank"
    rel="noreferrer"
    title=${`Workflow ${workflowId} in the Temporal Web UI`}
    >${text}<span class="hidden"> ${workflowId} (Temporal Web UI)</span></a
  >`;
}

/** Workflows in the Temporal Web UI. @param query in Temporal's visibility language */
export function workflowSearchLink(
  { settings }: Pick<Session, 'settings'>,
  query: string,
  text: string,
): TemplateResult {
  const { temporalUiUrl, temporalNamespace } = settings;
  const base = temporalUiUrl.replace(/\/$/, '');
  const url = `${base}/namespaces/${encodeURIComponent(temporalNamespace)}/workflows?query=${encodeURIComponent(query)}`;
  return html`<a class="outside" href=${url} target="_blank" rel="noreferrer"
    >${text}<span class="hidden"> (Temporal Web UI)</span></a
  >`;
}

/** What to do: a section of the runbook, by its anchor, also behind a path, as the API gives it. */
export function runbookLink(place: string): TemplateResult {
  return html`<a href=${`#/runbook/${place.replace(/^.*#/, '')}`}>What to do</a>`;
}

/** A product's view. */
export function productLink(productId: string, text = productId): TemplateResult {
  return html`<a class="id" href=${hrefOf('product', productId)}>${text}</a>`;
}

/** The address of the view of a thing; users have none, and lead to the orders. */
export function hrefOf(kind: SearchHit['kind'], id: string): string {
  const part = encodeURIComponent(id);
  switch (kind) {
    case 'event':
      return `#/events/${part}`;
    case 'order':
      return `#/orders/${part}`;
    case 'product':
      return `#/products/${part}`;
    case 'dead-letter':
      return `#/dead-letters/${part}`;
    case 'user':
      return '#/orders';
  }
}

/** The view of what an event is about: its order or its product. */
export function aggregateLink(type: string, aggregateId: string): TemplateResult {
  return ['order', 'payment'].includes(kindOf(type))
    ? html`<a class="id" href=${hrefOf('order', aggregateId)}>${aggregateId}</a>`
    : productLink(aggregateId);
}

/** An event's journey, under its type with the colour of what it is about. */
export function eventLink(eventId: string, type: string): TemplateResult {
  return html`<a class="type" data-kind=${kindOf(type)} href=${hrefOf('event', eventId)}
    >${type}</a
  >`;
}

/** An event's type, with the colour of what it is about. */
export function eventType(type: string): TemplateResult {
  return html`<span class="type" data-kind=${kindOf(type)}>${type}</span>`;
}

function kindOf(type: string): string {
  if (/^Order/.test(type)) return 'order';
  if (/^Payment/.test(type)) return 'payment';
  if (/^(Stock|Product(Registered))/.test(type)) return 'stock';
  return 'interest';
}

/** What a form that was sent has in a field, without the spaces around it. */
export function fieldOf(event: SubmitEvent, name: string): string {
  const value = new FormData(event.target as HTMLFormElement).get(name);
  return typeof value === 'string' ? value.trim() : '';
}

/** One of several choices, of which one is taken. */
export function choices<Value extends string>(
  label: string,
  options: readonly (readonly [Value, string])[],
  chosen: Value,
  onChoice: (value: Value) => void,
): TemplateResult {
  return html`<div class="choices" role="group" aria-label=${label}>
    ${options.map(
      ([value, text]) =>
        html`<button
          type="button"
          aria-pressed=${value === chosen ? 'true' : 'false'}
          @click=${() => onChoice(value)}
        >
          ${text}
        </button>`,
    )}
  </div>`;
}
