/** One event: how far it has got, when and where, what it does, and what to do about it. */
import { html, nothing } from 'lit-html';
import type { EventJourney } from './api-types';
import { formatCount, formatDuration, formatTime } from './format';
import { statusOf } from './dead-letters';
import { unlessMissing } from './not-found';
import { poll } from './polling';
import type { Session } from './session';
import {
  aggregateLink,
  eventType,
  facts,
  hrefOf,
  panel,
  productLink,
  reading,
  workflowLink,
  type Content,
  type View,
} from './view';

/** Opens the journey of an event. One that nobody knows yet is looked for again. */
export function openEvent(session: Session, eventId: string): View {
  const { api, redraw } = session;
  const path = `/v1/events/${encodeURIComponent(eventId)}`;
  const journey = poll(2_000, () => api.get<EventJourney>(path), redraw);
  return {
    section: 'overview',
    title: `Event ${eventId}`,
    render: () =>
      html`<p class="back"><a href="#/">All events</a></p>
        ${unlessMissing(journey, `No event ${eventId}`, () =>
          reading(journey, (found) => show(session, found)),
        )}`,
    close: () => journey.stop(),
  };
}

function show(session: Session, journey: EventJourney): Content {
  const { eventId, type, state, summary, remedy, deadLetters, event } = journey;
  return html`
    <div class="title">
      <h2>${type === null ? 'Event' : eventType(type)}</h2>
      <span class="mark" data-journey=${state}>${state}</span>
      <p class="where">${eventId}</p>
    </div>
    ${panel(
      'journey',
      'Journey',
      html`<p class="fact" role="status">${summary}</p>
        ${remedy === null ? nothing : html`<p class="fact"><strong>What to do.</strong> ${remedy}</p>`}
        ${stageList(session, journey)}`,
    )}
    <div class="columns">
      <div class="main-column">
        ${panel('effects', 'Effects', effectTable(journey))}
        ${
          event === null
            ? nothing
            : panel(
                'envelope',
                'Envelope',
                html`<pre tabindex="0" aria-label="The whole event">
${JSON.stringify(event, null, 2)}</pre>`,
              )
        }
      </div>
      <div class="side-column">
        ${panel('facts', 'Facts', factsOf(journey))}
        ${deadLetters.length === 0 ? nothing : panel('letters', 'Dead letters', letterList(journey))}
      </div>
    </div>
  `;
}

/** A stage as it is shown, reached or not. */
interface ShownStage {
  readonly name: string;
  readonly stage: { readonly at: string | null; readonly afterMs: number | null } | null;
  /** Where and by whom; of one that is not reached, why. */
  readonly detail: Content;
}

function stageList(session: Session, journey: EventJourney): Content {
  return html`<ol class="stages">
    ${shownStages(session, journey).map(
      ({ name, stage, detail }) =>
        html`<li data-stage=${name.toLowerCase()} data-reached=${stage === null ? 'no' : 'yes'}>
          <span class="stage">${name}</span>
          <span class="when">${stage === null ? '–' : timeOf(stage.at)}</span>
          <span class="took">${intervalOf(stage)}</span>
          <span class="detail">${detail}</span>
        </li>`,
    )}
  </ol>`;
}

function timeOf(at: string | null): Content {
  return at === null
    ? 'time unknown'
    : html`<time datetime=${at} title=${at}>${formatTime(at)}</time>`;
}

// Below 0 the clocks of two servers differ, and nobody can tell.
function intervalOf(stage: ShownStage['stage']): string {
  if (stage === null || stage.afterMs === null) return '';
  return `+ ${formatDuration(Math.max(stage.afterMs, 0))}`;
}

function shownStages(
  session: Session,
  { committed, published, taken, logged, handled, evictions, repeats, state }: EventJourney,
): ShownStage[] {
  const ended = state === 'discarded' || state === 'parked';
  const pending = ended ? 'not reached' : 'not yet';
  return [
    {
      name: 'Committed',
      stage: committed,
      detail:
        committed === null
          ? 'not in the outbox: a view, or an event of another producer'
          : `with its change, outbox sequence ${committed.sequence}`,
    },
    {
      name: 'Published',
      stage: published,
      detail: published === null ? pending : placeOf(published),
    },
    {
      name: 'Taken',
      stage: taken,
      detail: taken === null ? pending : takenBy(session, taken),
    },
    {
      name: 'Logged',
      stage: logged,
      detail: logged === null ? pending : loggedAt(logged, published),
    },
    {
      name: 'Handled',
      stage: handled,
      detail: handled === null ? pending : 'in the same transaction as its effects',
    },
    ...(evictions.state === 'none'
      ? []
      : [
          {
            name: 'Evicted',
            stage: evictions.state === 'done' ? { at: null, afterMs: null } : null,
            detail: html`${evictionWords[evictions.state]}:
            ${evictions.productIds.map((productId) => html`${productLink(productId)} `)}`,
          },
        ]),
    ...(repeats === null
      ? []
      : [
          {
            name: 'Repeated',
            stage: { at: repeats.lastAt, afterMs: null },
            detail: repeatsText(repeats),
          },
        ]),
  ];
}

function repeatsText({ count, firstAt, last }: NonNullable<EventJourney['repeats']>): string {
  const times = count === 1 ? 'once more' : `${formatCount(count)} times`;
  const since = count === 1 ? '' : ` since ${formatTime(firstAt)}`;
  return `came ${times}${since}, and changed nothing; ${count === 1 ? '' : 'last '}from ${placeOf(last)}`;
}

const evictionWords = {
  waiting: 'waiting, cached detail of',
  done: 'cached detail of',
  unknown: 'unknown without Temporal, cached detail of',
} as const;

type Place = NonNullable<EventJourney['logged']>;

function placeOf({
  topic,
  partition,
  offset,
}: Pick<Place, 'topic' | 'partition' | 'offset'>): string {
  return `${topic}/${partition} at ${offset}`;
}

function loggedAt(logged: Place, published: EventJourney['published']): string {
  const isOther = published !== null && placeOf(published) !== placeOf(logged);
  return `from ${placeOf(logged)}${isOther ? ': it was published more than once' : ''}`;
}

function takenBy(session: Session, taken: NonNullable<EventJourney['taken']>): Content {
  const { workflowId, workflowType, status } = taken;
  const told = workflowType === null ? 'which Temporal does not tell of' : (status ?? '');
  return html`${workflowLink(session, workflowId, workflowType ?? 'workflow')}
    <span class="where">${told.toLowerCase()}</span>`;
}

function effectTable({ effects, handled, type }: EventJourney): Content {
  if (effects === null) {
    return html`<p class="empty">PostgreSQL rejects its values: it can never be applied.</p>`;
  }
  if (effects.length === 0) {
    const what = type === null ? 'An event that nobody has logged has' : 'It adds to';
    return html`<p class="empty">${what} no numbers.</p>`;
  }
  return html`<p class="note">
      ${handled === null ? 'What it will add up to once it is handled.' : 'Applied once, whatever is delivered again.'}
    </p>
    <div class="scrolling" role="region" aria-label="Effects of the event" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">Numbers</th>
            <th scope="col">Row</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          ${effects.map(
            ({ table, about, key, changes }) =>
              html`<tr data-table=${table}>
                <th scope="row" title=${about}>${table}</th>
                <td class="id">${Object.values(key).join(', ')}</td>
                <td>
                  ${changes.map((change) => html`<span class="where">${wordsOf(change)}</span><br />`)}
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
}

type Change = NonNullable<EventJourney['effects']>[number]['changes'][number];

function wordsOf({ column, kind, value }: Change): string {
  switch (kind) {
    case 'sum':
      return `${column} ${value.startsWith('-') ? '−' : '+'} ${value.replace(/^-/, '')}`;
    case 'newest':
      return `${column} = ${value}, unless a newer version is known`;
    case 'maximum':
      return `${column} at least ${value}`;
  }
}

function factsOf({ type, aggregateId, occurredAt, committed }: EventJourney): Content {
  const rows: (readonly [string, Content])[] = [
    ['About', type === null || aggregateId === null ? 'unknown' : aggregateLink(type, aggregateId)],
    ['Happened', occurredAt === null ? 'unknown' : formatTime(occurredAt)],
  ];
  if (committed?.leftBehindAt) {
    rows.push(['Found unpublished by the audit', formatTime(committed.leftBehindAt)]);
  }
  return facts(rows);
}

// What became of one that was redriven is the journey itself.
const toldAbove = { outcome: null, parkedAgainAs: null } as const;

function letterList({ deadLetters }: EventJourney): Content {
  return html`<ul class="letters">
    ${deadLetters.map(
      (letter) =>
        html`<li>
          <a href=${hrefOf('dead-letter', String(letter.id))}>Dead letter ${letter.id}</a>
          ${statusOf({ ...letter, ...toldAbove })} <span class="reason">${letter.reason}</span>
          <span class="where"
            >${letter.carriesEvent ? '' : 'another message with this ID, '}parked
            ${formatTime(letter.parkedAt)}</span
          >
        </li>`,
    )}
  </ul>`;
}
