/** The live list of handled events. It pauses on hover, on focus, and on request. */
import { html } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { HandledEvent } from './api-types';
import { formatClock, formatDuration } from './format';
import type { Session } from './session';
import { eventLink, panel, productLink, workflowLink, type Content } from './view';

/** The list of events. */
export interface EventList {
  render(): Content;
}

const shownEvents = 60;
// A phone's page is as long as its list.
const shownOnPhone = 12;
const all = 'all';

/** A list of the session's events. */
export function createEventList(session: Session): EventList {
  let type = all;
  let paused = false;
  let pointedAt = false;
  /** What is shown while the list holds still. */
  let held: readonly HandledEvent[] | undefined;

  const matching = (): HandledEvent[] =>
    session.events.filter((event) => type === all || event.type === type);
  const hold = (): void => {
    held = paused || pointedAt ? (held ?? matching()) : undefined;
    session.redraw();
  };
  const pointAt = (value: boolean) => (): void => {
    pointedAt = value;
    hold();
  };
  const chooseType = (event: Event): void => {
    type = (event.target as HTMLSelectElement).value;
    held = undefined;
    hold();
  };
  const togglePause = (): void => {
    paused = !paused;
    hold();
  };
  const phone = matchMedia('(max-width: 760px)');
  return {
    render() {
      const newest = matching();
      const shown = held ?? newest;
      const waiting = held === undefined ? 0 : countNewer(newest, held);
      const types = [...new Set(session.events.map((event) => event.type))].sort();
      return panel(
        'events',
        'Handled events',
        html`<p class="note" role="status">${noteOf(session, waiting)}</p>
          ${
            shown.length === 0
              ? html`<p class="empty">No events handled yet.</p>`
              : html`<ol
                  class="events"
                  @pointerenter=${pointAt(true)}
                  @pointerleave=${pointAt(false)}
                  @focusin=${pointAt(true)}
                  @focusout=${pointAt(false)}
                >
                  ${repeat(
                    shown.slice(0, phone.matches ? shownOnPhone : shownEvents),
                    ({ eventId }) => eventId,
                    (event) => row(session, event),
                  )}
                </ol>`
          }`,
        html`<div class="controls">
          <label class="hidden" for="event-type">Type of event</label>
          <select id="event-type" @change=${chooseType}>
            <option value=${all}>All types</option>
            ${types.map((each) => html`<option value=${each}>${each}</option>`)}
          </select>
          <button type="button" aria-pressed=${paused ? 'true' : 'false'} @click=${togglePause}>
            Pause
          </button>
        </div>`,
      );
    },
  };
}

function countNewer(newest: readonly HandledEvent[], held: readonly HandledEvent[]): number {
  const first = held[0]?.eventId;
  const place = newest.findIndex(({ eventId }) => eventId === first);
  return place < 0 ? newest.length : place;
}

function noteOf({ stream }: Session, waiting: number): string {
  if (stream.kind === 'interrupted') {
    return `Interrupted since ${formatClock(stream.since)}: ${stream.reason}. Missed events follow after the reconnect.`;
  }
  if (stream.kind === 'connecting') return 'Connecting …';
  if (waiting > 0) return `Paused: ${waiting} newer events.`;
  return 'Events whose effects have been applied, newest first.';
}

function row(session: Session, event: HandledEvent): Content {
  const { type, topic, partition, offset, aggregateId, handledAt, occurredAt, workflowId } = event;
  const latency = Math.max(Date.parse(handledAt) - Date.parse(occurredAt), 0);
  const ofProduct = topic === 'catalog-events';
  return html`<li data-event=${event.eventId}>
    <time datetime=${handledAt}>${formatClock(handledAt)}</time>
    ${eventLink(event.eventId, type)}
    <span class="about"
      >${
        ofProduct
          ? productLink(aggregateId)
          : html`<span class="id" title=${aggregateId}>${aggregateId}</span>`
      }</span
    >
    <span class="where">${topic}/${partition} at ${offset}</span>
    <span class="took" title="Latency: from the time of the event to its effects"
      >${formatDuration(latency)}</span
    >
    <span class="links">${workflowLink(session, workflowId)}</span>
  </li>`;
}
