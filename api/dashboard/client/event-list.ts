/** The live list of handled events. It pauses on hover, on focus, and on request. */
import { html } from 'lit-html';
import { repeat } from 'lit-html/directives/repeat.js';
import type { HandledEvent, HandledEvents } from './api-types';
import { formatClock, formatDuration } from './format';
import { messageOf } from './polling';
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

  /** What the API has of the chosen type, from before what was streamed. */
  let earlier: readonly HandledEvent[] = [];
  let problem: string | undefined;

  const matching = (): readonly HandledEvent[] => {
    if (type === all) return session.events;
    const streamed = session.events.filter((event) => event.type === type);
    const known = new Set(streamed.map(({ eventId }) => eventId));
    return [...streamed, ...earlier.filter(({ eventId }) => !known.has(eventId))];
  };
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
    earlier = [];
    problem = undefined;
    hold();
    if (type !== all) void readEarlier(type);
  };
  const readEarlier = async (chosen: string): Promise<void> => {
    const path = `/v1/handled-events?type=${encodeURIComponent(chosen)}&limit=${shownEvents}`;
    try {
      const { items } = await session.api.get<HandledEvents>(path);
      // Another may have been chosen meanwhile.
      if (chosen === type) earlier = items;
    } catch (error) {
      if (chosen === type) problem = messageOf(error);
    }
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
      return panel(
        'events',
        'Handled events',
        html`<p class="note" role="status">
            ${problem === undefined ? noteOf(session, waiting) : `Without those of before: ${problem}`}
          </p>
          ${
            shown.length === 0
              ? html`<p class="empty">
                  No events ${type === all ? '' : 'of this type '}handled yet.
                </p>`
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
            ${session.settings.eventTypes.map((each) => html`<option value=${each}>${each}</option>`)}
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
