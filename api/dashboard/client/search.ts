/**
 * The search: one box for every ID, name and place, by keyboard alone. A combobox with a list, as the ARIA
 * Authoring Practices Guide has it (https://www.w3.org/WAI/ARIA/apg/patterns/combobox/).
 */
import { html, nothing, type TemplateResult } from 'lit-html';
import type { Api } from './api';
import type { SearchHit, SearchResults } from './api-types';
import { messageOf } from './polling';
import { hrefOf } from './view';

/** The box, and its shortcut. */
export interface Search {
  render(): TemplateResult;
  /** Takes `/` and Ctrl-K or Cmd-K; a shortcut of one letter not while something is typed. */
  onKey(event: KeyboardEvent): void;
}

const afterLastLetterMs = 150;

/** A search in the API. @param redraw called after each change */
export function createSearch(api: Api, redraw: () => void): Search {
  let text = '';
  let results: SearchResults | undefined;
  let problem: string | undefined;
  let open = false;
  /** The option that the keyboard is at; none below 0. */
  let active = -1;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let latestTry = 0;

  const forget = (): void => {
    clearTimeout(timer);
    latestTry += 1;
    results = undefined;
    problem = undefined;
    active = -1;
  };
  // At once: what is typed before the next frame would be added to the old text.
  const clear = (): void => {
    forget();
    text = '';
    const box = searchBox();
    if (box !== null) box.value = '';
  };
  const close = (): void => {
    open = false;
    active = -1;
    redraw();
  };
  const go = (hit: SearchHit): void => {
    clear();
    close();
    const href = hrefOf(hit.kind, hit.id);
    if (location.hash === href) document.querySelector<HTMLElement>('#main')?.focus();
    else location.hash = href;
  };
  const find = async (): Promise<void> => {
    const ownTry = (latestTry += 1);
    const asked = text.trim();
    const found = await api
      .get<SearchResults>(`/v1/search?q=${encodeURIComponent(asked)}`)
      .catch((error: unknown) => messageOf(error));
    if (ownTry !== latestTry) return;
    if (typeof found === 'string') problem = found;
    else results = found;
    redraw();
  };
  const type = (event: InputEvent): void => {
    forget();
    text = (event.target as HTMLInputElement).value;
    open = text.trim() !== '';
    if (open) timer = setTimeout(() => void find(), afterLastLetterMs);
    redraw();
  };
  // Whoever is quicker than the search gets its first result.
  const choose = async (): Promise<void> => {
    if (text.trim() === '') return;
    clearTimeout(timer);
    if (results === undefined) await find();
    const hit = results?.items[Math.max(active, 0)];
    if (hit !== undefined) go(hit);
  };
  const move = (by: number): void => {
    const count = results?.items.length ?? 0;
    open = text.trim() !== '';
    if (count > 0) active = active < 0 && by < 0 ? count - 1 : (active + by + count) % count;
    redraw();
    requestAnimationFrame(() => {
      document.querySelector(`#${optionId(active)}`)?.scrollIntoView({ block: 'nearest' });
    });
  };
  const leave = (): void => {
    if (open) return close();
    clear();
    redraw();
  };
  const keys: Readonly<Record<string, () => void>> = {
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    Enter: () => void choose(),
    Escape: leave,
  };
  const press = (event: KeyboardEvent): void => {
    const act = event.isComposing ? undefined : keys[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  };

  return {
    onKey(event) {
      const isShortcut =
        (event.key === '/' && !isTyping(event) && !event.altKey) ||
        (event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey));
      if (!isShortcut || document.querySelector('dialog[open]') !== null) return;
      event.preventDefault();
      const box = searchBox();
      box?.focus();
      box?.select();
    },
    render() {
      const items = open ? (results?.items ?? []) : [];
      return html`<div class="search" role="search" @focusout=${close}>
        <label class="hidden" for="search">Search</label>
        <input
          id="search"
          type="text"
          role="combobox"
          placeholder="Search"
          autocomplete="off"
          autocapitalize="none"
          spellcheck="false"
          aria-autocomplete="list"
          aria-expanded=${items.length > 0 ? 'true' : 'false'}
          aria-controls="search-results"
          aria-activedescendant=${active < 0 ? nothing : optionId(active)}
          aria-keyshortcuts="/ Control+K"
          maxlength="200"
          .value=${text}
          @input=${type}
          @keydown=${press}
        />
        <kbd class="shortcut" aria-hidden="true">/</kbd>
        <div class="search-panel" ?hidden=${!open}>
          <p class="note" role="status">${open ? statusOf(results, problem) : ''}</p>
          <ul id="search-results" role="listbox" aria-label="Results" ?hidden=${items.length === 0}>
            ${items.map((hit, index) => option(hit, index, index === active, go))}
          </ul>
        </div>
      </div>`;
    },
  };
}

const searchBox = (): HTMLInputElement | null => document.querySelector('#search');

const optionId = (index: number): string => `search-result-${index}`;

function option(
  hit: SearchHit,
  index: number,
  isActive: boolean,
  onChoice: (hit: SearchHit) => void,
): TemplateResult {
  const { kind, label, id, detail } = hit;
  // A press must not take the focus, or the list would close before the click.
  return html`<li
    id=${optionId(index)}
    role="option"
    aria-selected=${isActive ? 'true' : 'false'}
    @mousedown=${(event: Event) => event.preventDefault()}
    @click=${() => onChoice(hit)}
  >
    <span class="mark">${kinds[kind]}</span>
    <span class="found"
      ><span>${kind === 'dead-letter' ? `#${id}: ${label}` : label}</span>
      <span class="where">${kind === 'dead-letter' ? detail : `${id}, ${detail}`}</span></span
    >
  </li>`;
}

const kinds: Readonly<Record<SearchHit['kind'], string>> = {
  event: 'event',
  order: 'order',
  product: 'product',
  'dead-letter': 'dead letter',
  user: 'user',
};

function statusOf(results: SearchResults | undefined, problem: string | undefined): string {
  if (problem !== undefined) return problem;
  if (results === undefined) return 'Searching …';
  const { items, incomplete } = results;
  const note = incomplete === null ? '' : ` ${incomplete}`;
  if (items.length > 0) return `${items.length} found.${note}`;
  return `Nothing found. Search for the ID of an event, an order, a product or a user with orders, the name of a product, a dead letter (#13), or a place (topic/partition@offset).${note}`;
}

function isTyping({ target }: Event): boolean {
  return target instanceof Element && target.closest('input, textarea, select') !== null;
}
