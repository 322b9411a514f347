/** What there is not: an address without a view, or a thing that nobody knows. */
import { html, type TemplateResult } from 'lit-html';
import type { Reading } from './polling';
import { panel, type Content, type View } from './view';

/** The view of an address that has none. */
export function openNotFound(): View {
  return {
    section: 'none',
    title: 'Page not found',
    render: () =>
      notFound(
        'Page not found',
        `The dashboard has no page at ${location.hash}. Check the address.`,
      ),
    close: () => undefined,
  };
}

/** A thing as it is shown, or that there is none: once the API has said so, and nothing was known before. */
export function unlessMissing(
  { data, failure }: Pick<Reading<unknown>, 'data' | 'failure'>,
  heading: string,
  show: () => Content,
): Content {
  const isMissing = data === undefined && (failure?.status === 404 || failure?.status === 400);
  return isMissing ? notFound(heading, failure.message) : show();
}

/** Says what there is not, and where to look. */
export function notFound(heading: string, text: string): TemplateResult {
  return panel(
    'not-found',
    heading,
    html`<p class="fact">${text}</p>
      <p class="fact">
        Press <kbd>/</kbd> to search, or go to <a href="#/">the overview</a>,
        <a href="#/products">the products</a> or <a href="#/dead-letters">the dead letters</a>.
      </p>`,
  );
}
