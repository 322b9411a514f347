/** The dashboard: signing in, the frame around the views, and which view is open. */
import { html, nothing, render } from 'lit-html';
import { ApiError, createApi } from './api';
import type { Settings } from './api-types';
import { openDeadLetter } from './dead-letter';
import { openDeadLetters } from './dead-letters';
import { openEvent } from './event';
import { formatCount } from './format';
import { openNotFound } from './not-found';
import { openOrder } from './order';
import { openOrders } from './orders';
import { openOverview } from './overview';
import { messageOf } from './polling';
import { openProduct } from './product';
import { openProducts } from './products';
import { openRunbook } from './runbook';
import { createSearch, type Search } from './search';
import { beginSession, type Session } from './session';
import { openVerification } from './verification';
import { verdictBadge, verdictBanner } from './verdict';
import { fieldOf, type Content, type View } from './view';

// Kept in sessionStorage: for this tab only.
const keyName = 'operator-key';

const app = document.querySelector<HTMLElement>('#app')!;
let session: Session | undefined;
let search: Search | undefined;
let view: View | undefined;
let signIn: { problem: string | undefined; busy: boolean } = { problem: undefined, busy: false };
let drawing = false;

/** Draws the page in the next frame, once, however often it is asked for. */
function redraw(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const isOpen = session !== undefined && search !== undefined && view !== undefined;
    render(isOpen ? frame(session!, search!, view!) : signInForm(), app);
  });
}

async function begin(key: string): Promise<void> {
  signIn = { problem: undefined, busy: true };
  redraw();
  const api = createApi(key, () => signOut('The API no longer accepts this key. Sign in again.'));
  try {
    const settings = await api.get<Settings>('/v1/dashboard/settings');
    sessionStorage.setItem(keyName, key);
    signIn = { problem: undefined, busy: false };
    session = beginSession(api, settings, redraw);
    search = createSearch(api, redraw);
    openView();
  } catch (error) {
    // A key that may be valid is kept while the API is unavailable.
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      sessionStorage.removeItem(keyName);
    }
    signIn = { problem: signInProblem(error), busy: false };
    redraw();
  }
}

function signInProblem(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) return 'The API does not know this key.';
  if (error instanceof ApiError && error.status === 403) return 'This key is not an operator’s.';
  return messageOf(error);
}

function signOut(problem?: string): void {
  if (session === undefined) return;
  sessionStorage.removeItem(keyName);
  view?.close();
  session.end();
  session = undefined;
  search = undefined;
  view = undefined;
  signIn = { problem, busy: false };
  redraw();
}

function openView(): void {
  if (session === undefined) return;
  view?.close();
  view = viewAt(session, location.hash);
  document.title = `${view.title} · Event pipeline`;
  redraw();
}

function viewAt(current: Session, hash: string): View {
  const [path = '', query] = hash.split('?');
  const [, section = '', part, ...rest] = path.split('/');
  const id = part === undefined ? undefined : decoded(part);
  if (rest.length > 0) return openNotFound();
  switch (section) {
    case '':
      return id === undefined ? openOverview(current) : openNotFound();
    case 'events':
      return id === undefined ? openNotFound() : openEvent(current, id);
    case 'products':
      return id === undefined ? openProducts(current) : openProduct(current, id);
    case 'orders':
      return id === undefined ? openOrders(current) : openOrder(current, id);
    case 'dead-letters':
      if (id === undefined) return openDeadLetters(current, new URLSearchParams(query));
      return /^\d+$/.test(id) ? openDeadLetter(current, Number(id)) : openNotFound();
    case 'verification':
      return id === undefined ? openVerification(current) : openNotFound();
    case 'runbook':
      return id === undefined ? openNotFound() : openRunbook(current, id);
    default:
      return openNotFound();
  }
}

/** A part of an address that is no encoded text stands for itself. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function frame(current: Session, find: Search, open: View): Content {
  const waiting = current.status.data?.deadLetters ?? { count: 0, more: false };
  const link = (section: View['section'], href: string, text: string, badge: Content = nothing) =>
    html`<a href=${href} aria-current=${open.section === section ? 'page' : 'false'}
      >${text}${badge}</a
    >`;
  const badge =
    waiting.count === 0
      ? nothing
      : html`<span class="badge"
          >${formatCount(waiting.count)}${waiting.more ? '+' : ''}<span class="hidden">
            waiting</span
          ></span
        >`;
  return html`
    <a class="skip" href="#main" @click=${focusMain}>Skip to the content</a>
    <header>
      <h1><span class="logo" aria-hidden="true"></span>Event pipeline</h1>
      <nav aria-label="Views">
        ${link('overview', '#/', 'Overview')} ${link('products', '#/products', 'Products')}
        ${link('orders', '#/orders', 'Orders')}
        ${link('dead-letters', '#/dead-letters', 'Dead letters', badge)}
      </nav>
      ${find.render()}
      <div class="session">
        ${verdictBadge(current)}
        <button type="button" class="quiet" @click=${() => signOut()}>Sign out</button>
      </div>
    </header>
    ${verdictBanner(current)}
    <main id="main" tabindex="-1">${open.render()}</main>
  `;
}

// The address says which view is open, so the link must not become it.
function focusMain(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>('#main')?.focus();
}

function signInForm(): Content {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    void begin(fieldOf(event, 'key'));
  };
  return html`<main class="sign-in">
    <form class="panel" @submit=${submit}>
      <h1><span class="logo" aria-hidden="true"></span>Event pipeline</h1>
      <label for="key">Operator key</label>
      <input
        id="key"
        name="key"
        type="password"
        required
        autocomplete="current-password"
        aria-describedby="key-note key-problem"
      />
      <p class="note" id="key-note">
        A secret of <code>API_KEYS</code> whose role is operator. On a development machine,
        <code>npm start</code> prints it. It is kept for this tab alone.
      </p>
      <p class="stale" id="key-problem" role="alert">${signIn.problem ?? ''}</p>
      <button type="submit" class="primary" ?disabled=${signIn.busy}>Open the dashboard</button>
    </form>
  </main>`;
}

window.addEventListener('keydown', (event) => search?.onKey(event));
window.addEventListener('hashchange', () => {
  openView();
  window.scrollTo(0, 0);
  // Keyboard and screen reader users start at the new view.
  requestAnimationFrame(() =>
    document.querySelector<HTMLElement>('#main')?.focus({ preventScroll: true }),
  );
});
const kept = sessionStorage.getItem(keyName);
if (kept === null) redraw();
else void begin(kept);
